"""The device that a model is asked to run on: whether it is there, and its free memory."""

import psutil
import torch


def usable_device(device: str | torch.device) -> torch.device:
    """The device, once something was put on it.

    Raises ValueError on a device that PyTorch does not know or this machine does not have.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    # PyTorch has an error of its own for each way of not having a device.
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f"device: expected one that this machine has, such as 'cpu', got {str(device)!r}"
        ) from error
    return found


def free_bytes(device: torch.device) -> int:
    """Memory that nothing uses: the accelerator's own, or what the system can still give."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
