"""What travels: smaller, and exactly the same bytes on arrival."""

from __future__ import annotations

import gzip
import lzma

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ota import pack, unpack


@given(st.binary(max_size=4096))
def test_the_round_trip_is_exact(data: bytes) -> None:
    assert unpack(pack(data)) == data


def test_the_smaller_codec_wins_and_any_system_unpacks_it() -> None:
    sparse = bytes(200_000) + bytes(range(256)) * 40
    parcel = pack(sparse)
    assert parcel.codec == "xz"
    assert lzma.decompress(parcel.data) == sparse
    assert len(parcel.data) <= len(gzip.compress(sparse, 9))
    assert pack(sparse) == parcel
