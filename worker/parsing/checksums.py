"""Checksums of a checkpoint's files, and whose signature stands under them.

`SHA256SUMS` lists every file of a checkpoint that Logloom reads, as `sha256sum` writes and checks it.
`SHA256SUMS.sig` is the Ed25519 signature (RFC 8032) of that list, 64 bytes, as `openssl pkeyutl -sign -rawin` makes it.
"""

import hashlib
import re
from pathlib import Path

from worker.errors import WrongModel
from worker.parsing.checkpoint import FIELDS, FILES, KNOWN, NAMES, PROMPT, SIGNATURE, SUMS, prompt_folder, prompt_names

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def write_sums(folder: Path) -> None:
    """List the files of the checkpoint in `folder` with their checksums; a signature of what was there is removed."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _names(folder)]
    (folder / SIGNATURE).unlink(missing_ok=True)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def verify(folder: Path, signature_key: Path | None = None) -> None:
    """Compare the files of the checkpoint in `folder` with its list, if it has one, or if it must be signed.

    `signature_key`: file with an Ed25519 public key, PEM; who has the private one must have signed the list.

    Raises:
        WrongModel: files differ from the list or are missing in one of both; list or signature is missing or wrong.

    """
    if signature_key is not None:
        _verify_signature(folder, signature_key)
    elif not (folder / SUMS).is_file():
        return
    listed = _read_sums(folder / SUMS)
    there = {name: _sha256(folder / name) for name in _names(folder)}
    for names, trouble in (
        ({name for name in listed.keys() & there.keys() if listed[name] != there[name]}, "other content than"),
        (listed.keys() - there.keys(), "missing, but in"),
        (there.keys() - listed.keys(), "not in"),
    ):
        if names:
            raise WrongModel(
                f"{folder}: {', '.join(sorted(names))}: {trouble} {SUMS}. The checkpoint is damaged, or was changed."
            )


def _verify_signature(folder: Path, signature_key: Path) -> None:
    # Here, because only signed checkpoints need the library.
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(signature_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise WrongModel(f"model.signature_key: {signature_key} holds no public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise WrongModel(f"model.signature_key: {signature_key} holds a key of another kind than Ed25519.")
    try:
        key.verify((folder / SIGNATURE).read_bytes(), (folder / SUMS).read_bytes())
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise WrongModel(f"{folder} has no {name}: model.signature_key wants a signed checkpoint.") from error
    except InvalidSignature as error:
        raise WrongModel(f"{folder}: {SIGNATURE} is not of the key in {signature_key}, or of another list.") from error


def _names(folder: Path) -> list[str]:
    """Name the files that there are of those which Logloom reads."""
    prompts = [prompt_folder(folder, name).relative_to(folder) for name in prompt_names(folder)]
    own = [Path(name) for name in (*FILES, KNOWN, NAMES)]
    names = [*own, *(prompt / file for prompt in prompts for file in (PROMPT, KNOWN, FIELDS))]
    return [name.as_posix() for name in names if (folder / name).is_file()]


def _read_sums(path: Path) -> dict[str, str]:
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise WrongModel(f"{path}, line {number}: no checksum and name, as `sha256sum` writes them.")
        listed[match[2]] = match[1]
    return listed


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
