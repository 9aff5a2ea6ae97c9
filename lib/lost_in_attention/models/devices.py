"""The devices that a model is asked to run on: whether they are there, and their free memory."""

import psutil
import torch

# In the place of a device: the layers are spread over all GPUs.
SPREAD = "auto"


def usable_devices(device: str | torch.device) -> tuple[torch.device, ...]:
    """The device alone, or for `SPREAD` all GPUs.

    Raises ValueError as `usable_device` does, and on `SPREAD` where there is no GPU.
    """
    if device != SPREAD:
        return (usable_device(device),)
    if not torch.cuda.is_available():
        raise ValueError(f"device: expected a GPU for {SPREAD!r}, got a machine without")
    return tuple(torch.device("cuda", index) for index in range(torch.cuda.device_count()))


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
