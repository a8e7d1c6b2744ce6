"""Low-rank updates (LoRA, Hu et al., 2021) of all linear layers of an encoder, by `peft`.

They are merged into the weights before a checkpoint is written, so that serving them costs nothing.
"""

from typing import Any, cast

from torch import nn

from worker.errors import WrongSettings
from worker.parsing.model import Network


def add_lora(network: Network, rank: int) -> list[nn.Parameter]:
    """Put updates of `rank` beside the encoder's linear layers; returns what is to be trained.

    Raises:
        WrongSettings: peft is not installed.

    """
    try:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - slow to import, and only here
    except ImportError as error:
        raise WrongSettings("lora_rank needs peft: pip install 'logloom[training]'") from error
    layers = [name for name, module in network.encoder.named_modules() if isinstance(module, nn.Linear)]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=layers)
    inject_adapter_in_model(config, network.encoder)
    return [parameter for name, parameter in network.encoder.named_parameters() if "lora_" in name]


def merge_lora(network: Network) -> None:
    """Add the updates to the weights, and take their layers away."""
    for name, module in list(network.encoder.named_modules()):
        if hasattr(module, "merge") and hasattr(module, "base_layer"):
            layer = cast("Any", module)
            layer.merge()
            parent = network.encoder.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], layer.base_layer)
