"""Low-rank updates: what they train, and that nothing of them is left when they are merged."""

import sys

import pytest
import torch

from tests.parsing.checkpoints import CONFIGURATION, OTHER_CONFIGURATION
from training.teaching.lora import add_lora, merge_lora
from worker.errors import WrongSettings
from worker.parsing.model import Network, described_network

IDS, SHAPES, MASK = torch.arange(12).view(2, 6), torch.zeros(2, 6, 5, dtype=torch.long), torch.ones(2, 6)


def scores(network: Network) -> torch.Tensor:
    """Run some tokens through a network."""
    with torch.no_grad():
        found: torch.Tensor = network.eval()(IDS, SHAPES, MASK)
    return found


@pytest.mark.parametrize("config", [CONFIGURATION, OTHER_CONFIGURATION])
def test_updates_become_weights(config: dict[str, object]) -> None:
    """At first they change nothing; once trained and merged, the network alone scores as both did."""
    network = described_network(dict(config))
    names, before = network.state_dict().keys(), scores(network)
    trained = add_lora(network, 2)
    torch.testing.assert_close(before, scores(network))
    for parameter in trained:
        torch.nn.init.normal_(parameter, std=0.3)
    updated = scores(network)
    assert float((updated - before).abs().max()) > 1e-3
    merge_lora(network)
    assert names == network.state_dict().keys()
    torch.testing.assert_close(updated, scores(network), atol=1e-5, rtol=1e-4)


def test_only_updates_are_trained() -> None:
    """They are few, they lie beside every linear layer of the encoder, and gradients reach them."""
    network = described_network(CONFIGURATION)
    network.requires_grad_(False)
    trained = add_lora(network, 2)
    linear = 6 * CONFIGURATION["num_hidden_layers"]
    assert 2 * linear == len(trained)
    assert {id(one) for one in trained} == {id(one) for one in network.parameters() if one.requires_grad}
    network(IDS, SHAPES, MASK).sum().backward()
    assert all(parameter.grad is not None for parameter in trained)


def test_without_peft_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lacks the library is told what to install."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(WrongSettings, match="pip install"):
        add_lora(described_network(CONFIGURATION), 2)
