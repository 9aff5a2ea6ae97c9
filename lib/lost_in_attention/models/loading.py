"""How a command loads its model: the options that all such commands share."""

from dataclasses import dataclass, fields
from typing import Any

import torch
from accelerate import PartialState

from lost_in_attention.models.devices import SPREAD, usable_devices
from lost_in_attention.models.load import DTYPES, check_how
from lost_in_attention.runs.provenance import Scalar


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What a command says of loading beside the model's name; the fields are its options.

    `dtype` is one of `DTYPES`.  Without `device` each process takes the accelerator that is its
    own, or the processor.  The others are those of `load`.

    Raises ValueError on an unknown name, and as `usable_devices` and `check_how` do.
    """

    dtype: str = "float32"
    device: str | None = None
    quantization: str | None = None
    revision: str | None = None
    attention: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {list(DTYPES)}, got {self.dtype!r}")
        # The usual device is not touched: which GPU is its own a process knows later.
        usual = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        places = usable_devices(self.device) if self.device is not None else (usual,)
        check_how(places, DTYPES[self.dtype], self.attention, self.quantization)

    @property
    def options(self) -> dict[str, Scalar]:
        """All options that were said or have a default, those of loading last."""
        own = {each.name for each in fields(Loading)}
        said = [item for item in vars(self).items() if item[1] is not None]
        return dict(sorted(said, key=lambda item: item[0] in own))

    def arguments(self) -> dict[str, Any]:
        """What `load` is called with in this process.

        Raises ValueError where several processes would each take all GPUs.
        """
        state = PartialState(cpu=not torch.cuda.is_available())
        if self.device == SPREAD and state.num_processes > 1:
            raise ValueError(
                f"device: expected one process for {SPREAD!r}, got {state.num_processes}"
            )
        return {
            "device": self.device or state.device,
            "dtype": DTYPES[self.dtype],
            "quantization": self.quantization,
            "revision": self.revision,
            "attention": self.attention,
        }
