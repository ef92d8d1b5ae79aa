"""Row 22: what is not signed by a trusted key, is older, or is nonsense, does not run; and nothing crashes on it."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deploy.cli import cli
from edge.core.archive import MANIFEST, SIGNATURE, Archive, pack_archive
from edge.core.bundle import load_bundle
from edge.core.errors import BundleError, SettingsError
from edge.core.graph_file import require_self_contained
from edge.security.signing import make_signing_key, read_signing_key, sign_bundle
from edge.security.trust import RELEASES, Trust, trusted_folder
from tests.edge.inventing import Inventor
from tests.edge.security.bundles import EXTERNAL, THEIRS, hostile, lying, signed, sound_members, trust_of
from tests.faults import MULTIPLIER

HOSTILE, BATCH = 2000 * MULTIPLIER, 50


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return sound_members(tmp_path_factory.mktemp("sound"))


def written(folder: Path, members: dict[str, bytes], name: str = "b.bundle") -> Path:
    path = folder / name
    path.write_bytes(pack_archive(members))
    return path


def test_what_a_trusted_key_signed_runs_and_says_who_signed(tmp_path: Path, members: dict[str, bytes]) -> None:
    trust = trust_of(tmp_path / "trusted")
    assert trust.load(written(tmp_path, signed(members))).signer == "anna"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: {**signed(m), SIGNATURE: None}, "not signed"),
        (lambda m: signed(m, THEIRS), "signed by a key that is not trusted here"),
        (lambda m: {**signed(m), MANIFEST: signed(m, version=9)[MANIFEST]}, "not of this manifest"),
        (lambda m: {**signed(m), MANIFEST: b"not even JSON"}, "not of this manifest"),  # nothing was parsed
        (lambda m: {**signed(m), "p17.fp32.onnx": b""}, "digest differs"),
    ],
)
def test_what_no_trusted_key_signed_is_refused(
    tmp_path: Path, members: dict[str, bytes], change: object, why: str
) -> None:
    changed = {name: content for name, content in change(members).items() if content is not None}  # type: ignore[operator]
    with pytest.raises(BundleError, match=why):
        trust_of(tmp_path / "trusted").load(written(tmp_path, changed))


def test_an_older_release_is_refused_over_restarts_unless_that_is_meant(
    tmp_path: Path, members: dict[str, bytes]
) -> None:
    new, old = (written(tmp_path, signed(members, version=release), f"{release}") for release in (5, 4))
    trust = trust_of(tmp_path / "trusted", state=tmp_path)
    trust.load(old)  # nothing ran yet
    trust.ran(trust.load(new), is_start=True)
    for door in (trust, trust_of(tmp_path / "trusted", state=tmp_path)):
        with pytest.raises(BundleError, match="release 4 is older than release 5.*--allow-rollback"):
            door.load(old)
    meant = trust_of(tmp_path / "trusted", state=tmp_path, is_rollback_allowed=True)
    meant.ran(meant.load(old), is_start=True)
    trust_of(tmp_path / "trusted", state=tmp_path).load(old)


def test_a_recipe_counts_until_the_restart_which_must_find_its_own_bundle(
    tmp_path: Path, members: dict[str, bytes]
) -> None:
    configured, recipe = (written(tmp_path, signed(members, version=release), f"{release}") for release in (4, 5))
    trust = trust_of(tmp_path / "trusted", state=tmp_path)
    trust.ran(trust.load(configured), is_start=True)
    trust.ran(trust.load(recipe))
    with pytest.raises(BundleError, match="older"):
        trust.load(configured)
    trust_of(tmp_path / "trusted", state=tmp_path).load(configured)


def test_releases_that_cannot_be_read_are_not_forgotten_in_silence(tmp_path: Path) -> None:
    for content in (b"{", b"[]", b'{"bolt": "5"}'):
        (tmp_path / RELEASES).write_bytes(content)
        with pytest.raises(SettingsError, match="remove it to forget"):
            trust_of(tmp_path / "trusted", state=tmp_path)


def test_a_folder_of_trusted_keys_without_a_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]
) -> None:
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    assert trusted_folder(None) is None
    assert Trust(None).load(written(tmp_path, members)).signer is None  # then any bundle runs
    (tmp_path / "trusted").mkdir()
    assert trusted_folder(None) == tmp_path / "trusted"
    with pytest.raises(SettingsError, match="no bundle could run"):
        Trust(tmp_path / "trusted")
    (tmp_path / "trusted" / "x.signing-public").write_text("ed25519-public 12")
    with pytest.raises(SettingsError, match="holds no ed25519-public key"):
        Trust(tmp_path / "trusted")
    with pytest.raises(SettingsError, match="cannot be read"):
        Trust(tmp_path / "missing")


def test_edge_deploy_makes_a_key_and_signs_with_it(tmp_path: Path, members: dict[str, bytes]) -> None:
    def run(*arguments: object) -> str:
        result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    bundle = written(tmp_path, members)
    run("keys", "signing", "anna", "--out", tmp_path / "keys")
    assert (tmp_path / "keys" / "anna.signing-secret").stat().st_mode & 0o777 == 0o600
    assert "release 7" in run("sign", bundle, "--key", tmp_path / "keys" / "anna.signing-secret", "--release", 7)
    loaded = Trust(tmp_path / "keys").load(bundle)
    assert (loaded.signer, loaded.manifest.version) == ("anna", 7)
    run("sign", bundle, "--key", tmp_path / "keys" / "anna.signing-secret")  # again: in place of the one before
    assert Trust(tmp_path / "keys").load(bundle).manifest.version == 7


def test_a_secret_that_others_may_read_is_refused_and_a_key_is_never_overwritten(tmp_path: Path) -> None:
    secret, _ = make_signing_key(tmp_path, "anna")
    with pytest.raises(SettingsError, match="never overwritten"):
        make_signing_key(tmp_path, "anna")
    secret.chmod(0o640)
    with pytest.raises(SettingsError, match="others than its owner"):
        read_signing_key(secret)


def test_only_a_sound_bundle_is_signed(tmp_path: Path, members: dict[str, bytes]) -> None:
    bundle = written(tmp_path, {**members, "p17.fp32.onnx": EXTERNAL})
    with pytest.raises(BundleError, match="digest differs"):
        sign_bundle(bundle, THEIRS)
    assert SIGNATURE not in zipfile.ZipFile(bundle).namelist()


@pytest.mark.parametrize("path", ["/dev/zero", "/", "no\0name"])
def test_what_is_no_file_is_refused_and_not_read_for_ever(path: str) -> None:
    with pytest.raises(BundleError):
        load_bundle(Path(path))


def test_a_member_that_unpacks_to_more_than_it_claims_is_not_unpacked(members: dict[str, bytes]) -> None:
    bomb = lying(pack_archive({MANIFEST: members[MANIFEST], "golden.npz": bytes(64 << 20)}), "golden.npz", 100)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError):
            Archive(bomb, "b").read("golden.npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(inventor=st.integers(0, 2**64).map(Inventor))
@settings(
    max_examples=HOSTILE // BATCH,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_hostile_bundles_are_all_refused(members: dict[str, bytes], tmp_path: Path, inventor: Inventor) -> None:
    trust, path = trust_of(tmp_path / "trusted"), tmp_path / "b"
    path.write_bytes(pack_archive(signed(members)))
    trust.ran(trust.load(path))  # release 3
    for _ in range(BATCH):
        path.write_bytes(hostile(members, inventor))
        with pytest.raises(BundleError):
            trust.load(path)


def test_an_external_tensor_is_found_wherever_it_hides() -> None:
    def field(number: int, content: bytes) -> bytes:
        key = number << 3 | 2
        return bytes([key] if key < 0x80 else [key & 0x7F | 0x80, key >> 7]) + bytes([len(content)]) + content

    outside = field(13, b"\x0a\x02up")
    for tensor in (outside, b"\x70\x01"):  # names a file; says that it lies elsewhere
        graph, node = field(5, tensor), field(1, field(5, field(5, tensor)))
        subgraph = field(1, field(5, field(6, graph)))
        for where in (graph, node, subgraph, field(15, field(1, tensor))):
            with pytest.raises(BundleError, match="weights from another file"):
                require_self_contained(field(7, where), "g")
        with pytest.raises(BundleError, match="weights from another file"):
            require_self_contained(field(25, field(7, field(5, field(5, tensor)))), "g")
    require_self_contained(field(7, field(5, b"\x70\x00" + field(9, outside))), "g")  # weights may look like anything
