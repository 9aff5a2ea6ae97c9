"""A pretend accelerator, so that machines without one find code that would fail on one.

Its tensors hold real values, in the processor's memory, under a class of their own.  They say that
they lie on `DEVICE`, and PyTorch refuses what a GPU refuses: operations that mix them with the
processor's tensors, and NumPy.  Numbers that bear no dimension may be mixed, and indices and
`copy_` may cross.

    with accelerator():
        vlm = load("small-llava", device=DEVICE)
        spread(vlm.model)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda")
FREE_MEMORY = 2**30
MOVES = (torch.Tensor.to, torch.Tensor.cpu)
# The last two serve modules, in `load_state_dict` and in `to`.
CROSSING = (
    torch.Tensor.copy_,
    torch.Tensor.module_load,
    torch._has_compatible_shallow_copy_type,
)


class AcceleratorTensor(torch.Tensor):
    """A tensor that says it lies on `DEVICE`."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == torch.Tensor.device.__get__:
            return DEVICE
        if func in MOVES:
            return _moved(func, args, kwargs)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("NumPy cannot read the memory of an accelerator")
        if func == torch.Tensor.grad.__get__:
            return _sent(super().__torch_function__(func, types, args))
        _refuse_mixture(func, args, kwargs)
        wanted = kwargs.get("device")
        result = super().__torch_function__(func, types, args, _without_device(kwargs))
        return result if wanted is None or _is_accelerator(wanted) else tree_map(_plain, result)


class _Mode(TorchFunctionMode):
    """Sends the processor's tensors, and new ones, to `DEVICE` where they are asked to."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in MOVES:
            return _moved(func, args, kwargs)
        if _is_accelerator(kwargs.get("device")):
            return tree_map(_sent, func(*args, **_without_device(kwargs)))
        return func(*args, **kwargs)


@contextmanager
def accelerator() -> Iterator[None]:
    """Within the block tensors and modules can be moved to `DEVICE`."""
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    fork_rng = torch.random.fork_rng
    # A module's parameters would keep their class if only their data were set.
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with (
            _Mode(),
            patch("torch.random.fork_rng", lambda devices: fork_rng([])),
            patch("torch.cuda.mem_get_info", lambda device: (FREE_MEMORY, FREE_MEMORY)),
        ):
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapped)


class _Arriving(ModelHook):
    """What a module is given is brought to its device, as accelerate's own hook does it."""

    def __init__(self, device: torch.device, back: bool = False) -> None:
        self.device, self.back = device, back

    def pre_forward(self, module, *args, **kwargs):
        kept = {key: kwargs.pop(key) for key in ("past_key_values",) if key in kwargs}
        moved = send_to_device(kwargs, self.device)
        return send_to_device(args, self.device), moved | kept

    def post_forward(self, module, output):
        return send_to_device(output, DEVICE) if self.back else output


def spread(model: Any) -> None:
    """Bring the second half of a model's decoder layers, and its norm, to the processor's memory.

    The rest stays on `DEVICE`.  Modules are hooked as accelerate does for a map of devices.
    """
    layers = model.get_decoder().layers
    half, here = len(layers) // 2, torch.device("cpu")
    for index, layer in enumerate(layers):
        device = DEVICE if index < half else here
        add_hook_to_module(layer.to(device), _Arriving(device))
    add_hook_to_module(model.get_decoder().norm.to(here), _Arriving(here))
    add_hook_to_module(model.lm_head, _Arriving(DEVICE))
    add_hook_to_module(model, _Arriving(DEVICE, back=True))


def _moved(func: Callable, args: tuple, kwargs: dict[str, Any]) -> torch.Tensor:
    """The result of `Tensor.to` or `Tensor.cpu`; another device means another memory."""
    tensor, *how = args
    options = dict(kwargs)
    copy = options.pop("copy", False)
    if func is torch.Tensor.cpu:
        how, options = ["cpu"], {}
    if how and isinstance(how[0], torch.Tensor):
        how = [how[0].device, how[0].dtype]
    device, dtype, *_ = torch._C._nn._parse_to(*how, **options)
    there = isinstance(tensor, AcceleratorTensor)
    goes_there = there if device is None else _is_accelerator(device)
    moved = _plain(tensor).to(dtype or tensor.dtype, copy=copy or there != goes_there)
    return _sent(moved) if goes_there else moved


def _refuse_mixture(func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [t for t in tensors if not isinstance(t, AcceleratorTensor) and t.dim() > 0]
    indexed = func is torch.Tensor.__getitem__ and isinstance(args[0], AcceleratorTensor)
    if here and not indexed and func not in CROSSING:
        shapes = [(type(t).__name__, tuple(t.shape)) for t in tensors]
        raise RuntimeError(f"{func.__name__}: tensors on different devices: {shapes}")


def _plain(value: Any) -> Any:
    return value.as_subclass(torch.Tensor) if isinstance(value, AcceleratorTensor) else value


def _sent(value: Any) -> Any:
    return value.as_subclass(AcceleratorTensor) if isinstance(value, torch.Tensor) else value


def _is_accelerator(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _without_device(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "device"}
