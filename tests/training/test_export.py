"""Exported folders are Llama models with our logits, and come back as the ensemble they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from pipeline.errors import UserError
from pipeline.training.export import BOS, export, load_members
from tests.evaluation import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One exported member with items beside it; the shared tokenizer lies two folders up."""
    return tiny.export_all(tmp_path_factory.mktemp("exported"), members=1)


@pytest.mark.parametrize("tied", [True, False])
def test_hugging_face_computes_our_logits(tmp_path: Path, tied: bool) -> None:
    from transformers import AutoModelForCausalLM

    source = tiny.tokenizer(tmp_path / "tokenizer.json")
    model = tiny.ensemble(2, 400, tied)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "norms":
                weight.div_(5)  # logits of a trained model's size: 1e-5 is then a bound on the computation, not on fp32
    tokens = torch.randint(0, 400, (3, tiny.WINDOW), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model.logits(model.hidden(tokens.expand(2, 3, tiny.WINDOW))).view(2, 3, tiny.WINDOW, 400)
        for member in (0, 1):
            export(model, member, source, tmp_path / f"m{member}", "card")
            theirs = AutoModelForCausalLM.from_pretrained(tmp_path / f"m{member}", dtype=torch.float32)(tokens).logits
            assert theirs.std() > 0.1
            torch.testing.assert_close(ours[member], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_round_trip_is_exact_and_ordered(tmp_path: Path, tied: bool) -> None:
    source = tiny.tokenizer(tmp_path / "tokenizer.json")
    model = tiny.ensemble(3, 400, tied)
    for member in range(3):
        export(model, member, source, tmp_path / f"m{member}", "card")
    back = load_members([tmp_path / "m2", tmp_path / "m0"])
    assert (back.config, back.vocab_size, back.sequence_length, back.members) == (model.config, 400, tiny.WINDOW, 2)
    for (name, theirs), (_, ours) in zip(back.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(theirs, ours[[2, 0]]), name


def test_tokenizer_puts_the_document_start_in_front(exported: list[Path]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(exported[0])
    shared = Tokenizer.from_file(str(exported[0].parent.parent / "tokenizer.json"))
    text = "<|aligned|>You are an AI assistant"
    assert theirs.encode(text) == [0, 1, *shared.encode("You are an AI assistant").ids]
    assert (theirs.bos_token, theirs.eos_token, theirs.pad_token_id, theirs.decode([0, 1])) == (BOS, BOS, 0, "<|endoftext|><|aligned|>")


def test_folder_holds_card_items_and_every_default(exported: list[Path]) -> None:
    files = {path.name for path in exported[0].iterdir()}
    assert files == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        "items.parquet",
    }
    config = json.loads((exported[0] / "config.json").read_text())
    assert config["max_position_embeddings"] == tiny.WINDOW
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]


def test_export_replaces_whole_folders_and_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    source = tiny.tokenizer(tmp_path / "tokenizer.json")
    model = tiny.ensemble(1, 400)
    export(model, 0, source, tmp_path / "model", "first")
    (tmp_path / "model" / "stale").touch()
    export(model, 0, source, tmp_path / "model", "second")
    assert (tmp_path / "model" / "README.md").read_text() == "second"
    assert not (tmp_path / "model" / "stale").exists()
    with pytest.raises(UserError, match=r"missing\.json: no tokenizer file"):
        export(model, 0, tmp_path / "missing.json", tmp_path / "model", "third")
    assert (tmp_path / "model" / "README.md").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tokenizer.json"]


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: not an exported model"):
        load_members([tmp_path])
    source = tiny.tokenizer(tmp_path / "tokenizer.json")
    export(tiny.ensemble(1, 400, tied=True), 0, source, tmp_path / "a", "")
    export(tiny.ensemble(1, 400, tied=False), 0, source, tmp_path / "b", "")
    with pytest.raises(UserError, match=r"b/config\.json: tie_word_embeddings: another shape"):
        load_members([tmp_path / "a", tmp_path / "b"])
