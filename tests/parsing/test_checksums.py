"""Checksums and signatures of checkpoints."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.parsing.checkpoints import write_small
from worker.errors import WrongModel
from worker.parsing.checkpoint import BASE, KNOWN, PROMPT, PROMPTS, SIGNATURE, SUMS, WEIGHTS, checkpoint_folder
from worker.parsing.checksums import verify, write_sums
from worker.parsing.known import write_known
from worker.parsing.parser import EncoderParser
from worker.parsing.templates import Template

PRIVATE = Ed25519PrivateKey.generate()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Give a checkpoint with a prompt, and its list."""
    folder = write_small(tmp_path / "checkpoint")
    prompt = folder / PROMPTS / "shop"
    prompt.mkdir(parents=True)
    write_known(prompt / KNOWN, [Template.from_text("took <*> ms")])
    write_sums(folder)
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Give the file of the public key."""
    path = tmp_path / "public.pem"
    path.write_bytes(PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def sign(folder: Path) -> None:
    """Sign the list of a checkpoint."""
    (folder / SIGNATURE).write_bytes(PRIVATE.sign((folder / SUMS).read_bytes()))


def test_the_shipped_checkpoint_is_whole() -> None:
    """Its list is there and right."""
    assert (checkpoint_folder(BASE) / SUMS).is_file()
    verify(checkpoint_folder(BASE))


def test_a_checkpoint_without_a_list_is_taken(checkpoint: Path) -> None:
    """Only what is listed is checked, where no signature is wanted."""
    (checkpoint / SUMS).unlink()
    verify(checkpoint)


def test_a_list_is_what_sha256sum_checks(checkpoint: Path) -> None:
    """Whoever downloads a checkpoint needs no Logloom to look it over."""
    if shutil.which("sha256sum") is None:
        pytest.skip("this machine has no sha256sum")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=checkpoint, check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x"), r"model.safetensors: other content than SHA256SUMS"),
        (lambda folder: (folder / PROMPTS / "shop" / KNOWN).write_text("x"), r"prompts/shop/templates.jsonl: other"),
        (lambda folder: (folder / PROMPTS / "shop" / KNOWN).unlink(), r"prompts/shop/templates.jsonl: missing, but in"),
        (
            lambda folder: (folder / PROMPTS / "shop" / PROMPT).write_bytes(b""),
            r"prompt.safetensors: not in SHA256SUMS",
        ),
        (lambda folder: (folder / SUMS).write_text("what is this\n"), r"SHA256SUMS, line 1: no checksum"),
    ],
)
def test_what_differs_from_the_list_is_refused(checkpoint: Path, change: object, message: str) -> None:
    """Damage, a change, a file too few or too many: each is named."""
    assert callable(change)
    change(checkpoint)
    with pytest.raises(WrongModel, match=message):
        EncoderParser.load(checkpoint)


def test_a_signed_checkpoint_is_loaded(checkpoint: Path, key: Path) -> None:
    """The signature of the key's owner opens it."""
    sign(checkpoint)
    assert EncoderParser.load(checkpoint, signature_key=key).version


def test_without_the_right_signature_nothing_is_loaded(checkpoint: Path, key: Path) -> None:
    """None, another's, one of another list, and a right one over files that were changed."""
    with pytest.raises(WrongModel, match=r"has no SHA256SUMS.sig: model.signature_key wants"):
        EncoderParser.load(checkpoint, signature_key=key)
    (checkpoint / SIGNATURE).write_bytes(Ed25519PrivateKey.generate().sign((checkpoint / SUMS).read_bytes()))
    with pytest.raises(WrongModel, match="is not of the key"):
        verify(checkpoint, key)
    sign(checkpoint)
    (checkpoint / WEIGHTS).write_bytes(b"x")
    with pytest.raises(WrongModel, match="other content"):
        verify(checkpoint, key)
    (checkpoint / SUMS).write_bytes(b"")
    with pytest.raises(WrongModel, match="is not of the key"):
        verify(checkpoint, key)
    (checkpoint / SUMS).unlink()
    with pytest.raises(WrongModel, match="has no SHA256SUMS: "):
        verify(checkpoint, key)


def test_a_new_list_takes_the_old_signature_away(checkpoint: Path) -> None:
    """What is written anew has to be signed anew."""
    sign(checkpoint)
    write_sums(checkpoint)
    assert not (checkpoint / SIGNATURE).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"-----BEGIN PUBLIC KEY-----\n", "holds no public key in PEM"),
        (
            X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "of another kind than Ed25519",
        ),
    ],
)
def test_a_wrong_key_is_refused(checkpoint: Path, tmp_path: Path, content: bytes, message: str) -> None:
    """The setting is named, and what is wrong with its file."""
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(WrongModel, match=f"model.signature_key: .*{message}"):
        verify(checkpoint, tmp_path / "key.pem")


def test_openssl_signs(checkpoint: Path, key: Path, tmp_path: Path) -> None:
    """The command in docs/security.md makes what is wanted."""
    if shutil.which("openssl") is None:
        pytest.skip("this machine has no openssl")
    private = tmp_path / "private.pem"
    private.write_bytes(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(private)]
    subprocess.run([*command, "-in", checkpoint / SUMS, "-out", checkpoint / SIGNATURE], check=True)
    verify(checkpoint, key)
