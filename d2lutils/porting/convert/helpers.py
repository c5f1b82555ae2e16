"""Small functions that a generated source brings along where PyTorch has none."""

from __future__ import annotations

#: Name → source, as it stands in the generated file.
SOURCES = {
    "avg_pool_clipped": '''
def avg_pool_clipped(x, kernel, stride, counted, rest):
    """Average the counted positions of windows that may reach over the edge."""
    pool = getattr(F, f"avg_pool{len(kernel)}d")
    ones = F.pad(F.pad(torch.ones_like(x[:1, :1]), counted, value=1.0), rest)
    sums = pool(F.pad(F.pad(x, counted), rest), kernel, stride)
    return sums / pool(ones, kernel, stride)
''',
    "FrozenStatistics": '''
class FrozenStatistics(nn.modules.batchnorm._BatchNorm):
    """Batch norm that uses its running statistics in training, too."""

    def _check_input_dim(self, x):
        pass

    def train(self, mode=True):
        return super().train(False)
''',
    "lstm_outputs": '''
def lstm_outputs(result):
    """The output, the hidden state and the memory of an LSTM, side by side."""
    output, (hidden, memory) = result
    return output, hidden, memory
''',
    "sequence_mask": '''
def sequence_mask(x, lengths, axis, value):
    """Set what comes after the end of each sequence to a value."""
    steps = torch.arange(x.shape[axis], device=x.device)
    over = steps[:, None] >= lengths if axis == 0 else steps >= lengths[:, None]
    return x.masked_fill(over.reshape(over.shape + (1,) * (x.ndim - 2)), value)
''',
    "sequence_last": '''
def sequence_last(x, lengths, axis):
    """The last step of each sequence."""
    x = x.movedim(axis, 0)
    return x[lengths.long() - 1, torch.arange(x.shape[1], device=x.device)]
''',
    "sequence_reverse": '''
def sequence_reverse(x, lengths, axis):
    """Turn each sequence round and leave what comes after its end."""
    x = x.movedim(axis, 0)
    steps = torch.arange(len(x), device=x.device)[:, None]
    index = torch.where(steps < lengths, lengths.long() - 1 - steps, steps)
    columns = torch.arange(x.shape[1], device=x.device)
    return x[index, columns].movedim(0, axis)
''',
    "depth_to_space": '''
def depth_to_space(x, size):
    """Move blocks of channels into space, the block's number first."""
    n, c, h, w = x.shape
    x = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // size**2, h * size, w * size)
''',
    "space_to_depth": '''
def space_to_depth(x, size):
    """Move squares of space into channels, the place in the square first."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * size**2, h // size, w // size)
''',
}
