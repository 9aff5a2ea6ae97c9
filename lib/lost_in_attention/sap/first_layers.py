"""The decoder's first layers of a batch's prompts, computed once for all plans that spare them.

Nothing changes before a plan's first layer, so there every plan meets what the unchanged model
computed.  `kept_layers` keeps it while the model answers once; `replayed` puts it in the place of
those layers while the same prompts are read again.  Later tokens pass all layers as ever.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel


@dataclass
class KeptLayers:
    """What the prompts gave: keys and values of each layer, outputs of those asked for.

    `outputs` are those of the first n layers, by n.
    """

    outputs: dict[int, Float[Tensor, "batch tokens features"]] = field(default_factory=dict)
    keys_values: list[tuple[Tensor, Tensor]] = field(default_factory=list)


@contextmanager
def kept_layers(vlm: VisionLanguageModel, counts: Collection[int]) -> Iterator[KeptLayers]:
    """Within the block the first prompts that the model reads into a cache leave what `replayed`
    needs to skip the first n layers, for every n of `counts`."""
    kept, most = KeptLayers(), max(counts, default=0)

    def see(index: int):
        def hook(module, args, kwargs, output):
            if len(kept.keys_values) > index:
                return
            cache = kwargs["past_key_values"].layers[index]
            kept.keys_values.append((cache.keys, cache.values))
            if index + 1 in counts:
                kept.outputs[index + 1] = output

        return hook

    with ExitStack() as undo:
        for index, layer in enumerate(vlm.layers[:most]):
            undo.callback(layer.register_forward_hook(see(index), with_kwargs=True).remove)
        yield kept


@contextmanager
def replayed(vlm: VisionLanguageModel, kept: KeptLayers, count: int) -> Iterator[None]:
    """Within the block the first `count` layers give the prompts' kept states, bit by bit.

    The prompts must be those of the `kept_layers` block, each in its row.
    """

    def in_place_of(layer, index: int):
        usual = layer.forward

        def forward(hidden_states, *args, **kwargs):
            cache = kwargs["past_key_values"]
            if cache.get_seq_length(index):
                return usual(hidden_states, *args, **kwargs)
            cache.update(*kept.keys_values[index], index)
            return kept.outputs[count] if index + 1 == count else hidden_states

        return forward

    with ExitStack() as undo:
        for index, layer in enumerate(vlm.layers[:count]):
            # A layer among others on several devices has a forward of its own already.
            own = {"forward": layer.forward} if "forward" in vars(layer) else {}
            forward = in_place_of(layer, index)
            undo.callback(vars(layer).update, own)
            undo.callback(vars(layer).pop, "forward", None)
            layer.forward = forward
        yield
