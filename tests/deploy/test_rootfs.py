"""The bare Debian that images and packages are tried in is bare, and reaches packages."""

from __future__ import annotations

from support.rootfs import Rootfs


def test_it_has_no_compiler_and_can_install_a_package() -> None:
    with Rootfs() as debian:
        assert debian.run("which", "cc", check=False).returncode != 0
        debian.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "libuv1")
        assert "install ok installed" in debian.run("dpkg", "-s", "libuv1").stdout
    assert not debian.path.exists()
