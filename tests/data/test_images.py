"""The images source: folders and zips are read file by file; every file that is no image is named."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data import _archive
from pipeline.data.images import Images
from pipeline.errors import DataError
from tests.data.files import encoded, image_files, load, pixels, write_files, write_zip


def first_input(folder: Path, image: bytes, **settings: Any) -> Any:
    """What the model sees of one image, as it is stored: the others are black, white, and in the test split."""
    black, white = (encoded(np.full((4, 4, 3), shade, np.uint8)) for shade in (0, 255))
    files = {"train/a/1.png": image, "train/a/2.png": black, "train/b/1.png": white, "test/a/1.png": encoded(pixels(9))}
    source = Images(path=write_files(folder, files), divide_by=1, validation_fraction=0.01, **settings)
    data = load(source)
    inputs = [x for part in (data.train, data.validation) for xs, _ in part.batches(9) for x in xs]
    [found] = [x for x in inputs if x.std() > 0]
    return found


def test_a_folder_a_class(tmp_path: Path) -> None:
    data = load(Images(path=write_files(tmp_path, image_files(10)), size=(8, 6)))
    assert (data.train.size, data.validation.size, data.test.size) == (14, 2, 4)
    assert (data.input_shape, data.class_names) == ((8, 6, 3), ("cat", "dog"))
    assert np.bincount(data.test.targets()).tolist() == [2, 2]
    assert next(data.test.batches(4))[0].max() <= 1


def test_folders_that_are_splits_are_kept(tmp_path: Path) -> None:
    files = {
        f"{split}/{label}/{index}.png": encoded(pixels(seed * 10 + index))
        for seed, (split, label) in enumerate((s, c) for s in ("train", "val", "test") for c in "ab")
        for index in range(4)
    }
    data = load(Images(path=write_files(tmp_path, files), size=(4, 4)))
    assert (data.train.size, data.validation.size, data.test.size) == (8, 8, 8)


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    files = {f"animals/{name}": content for name, content in image_files(10).items()}
    zipped = load(Images(path=write_zip(tmp_path / "set.zip", files), size=(8, 6)))
    folder = load(Images(path=write_files(tmp_path / "set", files), size=(8, 6)))
    assert zipped.fingerprint == folder.fingerprint
    assert zipped.class_names == ("cat", "dog")


def test_the_test_split_does_not_follow_the_seed(tmp_path: Path) -> None:
    source = Images(path=write_files(tmp_path, image_files(10)), size=(8, 6))
    one, two = (next(load(source, seed).test.batches(9))[0] for seed in (1, 2))
    assert (one == two).all()


def test_pixels_are_what_pillow_shows(tmp_path: Path) -> None:
    image = pixels(5, 6, 6)
    assert (first_input(tmp_path / "same", encoded(image), size=(6, 6)) == image).all()
    wide = np.hstack([image, np.zeros((6, 6, 3), np.uint8)])
    cropped = first_input(tmp_path / "crop", encoded(wide), size=(6, 6), resize="crop")
    assert (cropped == wide[:, 3:9]).all()
    stretched = first_input(tmp_path / "stretch", encoded(wide), size=(6, 6))
    assert (stretched == np.asarray(Image.fromarray(wide).resize((6, 6), Image.Resampling.BILINEAR))).all()


def test_grayscale_follows_itu_r_601(tmp_path: Path) -> None:
    image = pixels(6, 4, 4)
    gray = first_input(tmp_path, encoded(image), size=(4, 4), color="grayscale")
    assert gray.shape == (4, 4, 1)
    assert np.abs(gray[..., 0] - image @ [0.299, 0.587, 0.114]).max() <= 1


def test_the_orientation_of_a_camera_is_followed(tmp_path: Path) -> None:
    image = pixels(7, 4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter to the right
    path = tmp_path / "turned.png"
    Image.fromarray(image).save(path, exif=exif)
    seen = first_input(tmp_path / "set", path.read_bytes(), size=(6, 4))
    assert (seen == np.rot90(image, -1)).all()


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    deep = np.array([[0, 256], [32768, 65279]], np.uint16)
    gray = first_input(tmp_path, encoded(deep), size=(2, 2), color="grayscale")
    assert gray[..., 0].tolist() == [[0, 1], [128, 254]]


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds nothing."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    framed = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


NO_IMAGES = {
    "text": (b"no image at all", "is no image of a known kind"),
    "empty": (b"", "is no image of a known kind"),
    "truncated": (encoded(pixels(1, 64, 64))[:3000], "is damaged"),
    "a bomb": (png_header(60_000, 60_000), "is damaged: Image size"),
    "large": (png_header(9_000, 9_000), "has 9000x9000 pixels"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image of a known kind"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_named(kind: str, tmp_path: Path) -> None:
    content, why = NO_IMAGES[kind]
    folder = write_files(tmp_path, image_files() | {"cat/wrong.png": content})
    with pytest.raises(DataError, match=r"1 of 11 files cannot be used: cat/wrong\.png") as caught:
        load(Images(path=folder, size=(4, 4)))
    assert why in caught.value.what


def test_unreadable_files_are_named_counted_and_skipped_only_if_allowed(tmp_path: Path) -> None:
    folder = write_files(tmp_path, image_files() | {"cat/text.png": b"text", "loose.png": b"", "dog/notes.txt": b""})
    folder.joinpath("dog", "folder.png").mkdir()
    folder.joinpath("dog", "nowhere.png").symlink_to("gone")
    folder.joinpath("dog", "again").symlink_to(folder)
    with pytest.raises(DataError, match=r"4 of 14 files cannot be used: cat/text\.png"):
        load(Images(path=folder, size=(4, 4)))
    data = load(Images(path=folder, size=(4, 4), unreadable="skip"))
    assert data.train.size + data.validation.size + data.test.size == 10
    assert data.notes == (
        "4 of 14 files cannot be used: cat/text.png is no image of a known kind (PNG, JPEG, BMP, GIF, WEBP, PPM); "
        "dog/folder.png is a folder; dog/nowhere.png is a link to nowhere; and 1 more; they were skipped",
        "2 files of other kinds were left aside: dog/again; dog/notes.txt",
    )


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_files(tmp_path, image_files())
    os.mkfifo(folder / "cat" / "pipe.png")
    with pytest.raises(DataError, match=r"cat/pipe\.png is no regular file"):
        load(Images(path=folder, size=(4, 4)))


@pytest.mark.parametrize("files", [{}, {"cat/1.txt": b""}, {"only/1.png": encoded(pixels(1))}])
def test_too_few_classes_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no file|has 1 classes: only|has 0 classes"):
        load(Images(path=write_files(tmp_path, files), size=(4, 4)))


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "cat/../../out.png", "..\\out.png", "C:/out.png"])
def test_a_zip_never_points_outside(name: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", image_files() | {name: b""})
    with pytest.raises(DataError, match="path traversal"):
        load(Images(path=path, size=(4, 4), unreadable="skip"))


def test_a_zip_holds_no_links(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", image_files())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'cat/link\.png' is a symbolic link"):
        load(Images(path=path, size=(4, 4)))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"cat/0.png": bytes(2**20)}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a") as archive:
        # Entries that all stand for the same packed bytes: a small file that would unpack to very much.
        [first] = archive.filelist
        for index in range(1, 1 + _archive.RATIO_COUNTS_FROM_BYTES // 2**20):
            twin = zipfile.ZipInfo(f"cat/{index}.png")
            twin.compress_type, twin.CRC = first.compress_type, first.CRC
            twin.file_size, twin.compress_size, twin.header_offset = 2**20, first.compress_size, 0
            archive.filelist.append(twin)
        archive.writestr("dog/0.png", b"")
    with pytest.raises(DataError, match="looks like a zip bomb"):
        load(Images(path=path, size=(4, 4)))


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"set\.zip cannot be read"):
        load(Images(path=tmp_path / "set.zip", size=(4, 4)))
    with pytest.raises(DataError, match=r"There is no file .*nowhere"):
        load(Images(path=tmp_path / "nowhere", size=(4, 4)))
