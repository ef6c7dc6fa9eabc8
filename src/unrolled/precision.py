"""Mixed precision that converts a weight once for each step of a training."""

import torch
from pytorch_lightning.plugins.precision import MixedPrecision


class ConvertOnce(MixedPrecision):
    """Mixed bfloat16 in which a training or validation step converts each weight once, however often it uses it.

    Lightning turns off autocast's memory of what it has converted, as a weight converted without gradients would later be
    taken for training (its issue 21611). So torch's GRU and plain RNN, which on a CPU run one time step after the other,
    converted their weights at each: a seventh of a training step of the gru went there (benchmarks/training_throughput.py).
    The context here is entered anew for every step and forgets when it is left, so a weight that was converted outlives
    neither its step nor the optimizer's, and none that validation converted is trained. Within a step, nothing may run the
    model without gradients first.
    """

    def autocast_context_manager(self) -> torch.autocast:
        """Return the context of one step."""
        return torch.autocast(self.device, dtype=torch.bfloat16, cache_enabled=True)
