"""The reference's Philox is Philox: its authors' answers, and NumPy's generator of that name."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt.reference.philox import philox

# The lines of tests/kat_vectors in Random123, the library of Philox' authors: generator, rounds,
# counter, key, answer. The last of each three has the digits of pi.
KNOWN_ANSWERS = """
philox4x32 7 00000000 00000000 00000000 00000000 00000000 00000000
    5f6fb709 0d893f64 4f121f81 4f730a48
philox4x32 7 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff
    5207ddc2 45165e59 4d8ee751 8c52f662
philox4x32 7 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0
    4dfccaba 190a87f0 c47362ba b6b5242a
philox4x32 10 00000000 00000000 00000000 00000000 00000000 00000000
    6627e8d5 e169c58d bc57ac4c 9b00dbd8
philox4x32 10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff
    408f276d 41c83b0e a20bc7c6 6d5451fd
philox4x32 10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0
    d16cfe09 94fdcceb 5001e420 24126ea1
philox4x64 7 0000000000000000 0000000000000000 0000000000000000 0000000000000000
    0000000000000000 0000000000000000
    5dc8ee6268ec62cd 139bc570b6c125a0 84d6deb4fb65f49e aff7583376d378c2
philox4x64 7 ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff
    ffffffffffffffff ffffffffffffffff
    071dd84367903154 48e2bbdc722b37d1 6afa9890bb89f76c 9194c8d8ada56ac7
philox4x64 7 243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89
    452821e638d01377 be5466cf34e90c6c
    513a366704edf755 f05d9924c07044d3 bef2cb9cbea74c6c 8db948de4caa1f8a
philox4x64 10 0000000000000000 0000000000000000 0000000000000000 0000000000000000
    0000000000000000 0000000000000000
    16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b
philox4x64 10 ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff
    ffffffffffffffff ffffffffffffffff
    87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0
philox4x64 10 243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89
    452821e638d01377 be5466cf34e90c6c
    a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6
"""
CASES = [("philox4x" + case).split() for case in KNOWN_ANSWERS.split("philox4x")[1:]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case[:3]))
def test_known_answers(case: list[str]) -> None:
    words = [int(word, 16) for word in case[2:]]
    answer = philox(
        words[:4], words[4:6], rounds=int(case[1]), word_bits=int(case[0].removeprefix("philox4x"))
    )
    assert answer.tolist() == words[6:]


def words64(number: int, count: int) -> list[int]:
    """Return the words of a large number, the least significant first."""
    return [number >> 64 * i & 2**64 - 1 for i in range(count)]


@pytest.mark.parametrize("key", [0, 1, 1 << 64, 2**128 - 1, 0x243F6A8885A308D313198A2E03707344])
@pytest.mark.parametrize("counter", [0, 7, 2**64 - 3, 2**128 - 3, 2**192 - 3, 2**256 - 3])
def test_numpy_has_the_same_stream(counter: int, key: int) -> None:
    """NumPy adds 1 to the counter before each block; from the larger counters above, it carries."""
    blocks = 6
    stream = np.random.Philox(
        counter=np.array(words64(counter, 4), np.uint64), key=np.array(words64(key, 2), np.uint64)
    ).random_raw(4 * blocks)
    counters = [words64(counter + 1 + i, 4) for i in range(blocks)]
    np.testing.assert_array_equal(philox(counters, words64(key, 2), word_bits=64).ravel(), stream)


@pytest.mark.parametrize("word_bits", [32, 64])
def test_counters_and_keys_are_taken_one_by_one(word_bits: int, rng: np.random.Generator) -> None:
    counters = rng.integers(1 << word_bits, size=(3, 5, 4), dtype=np.uint64, endpoint=False)
    keys = rng.integers(1 << word_bits, size=(3, 5, 2), dtype=np.uint64, endpoint=False)
    for rounds in (1, 10):
        together = philox(counters, keys, rounds=rounds, word_bits=word_bits)
        one_key = philox(counters, keys[0, 0], rounds=rounds, word_bits=word_bits)
        one_counter = philox(counters[0, 0], keys, rounds=rounds, word_bits=word_bits)
        for i in np.ndindex(3, 5):
            for many, counter, key in (
                (together, counters[i], keys[i]),
                (one_key, counters[i], keys[0, 0]),
                (one_counter, counters[0, 0], keys[i]),
            ):
                alone = philox(counter, key, rounds=rounds, word_bits=word_bits)
                np.testing.assert_array_equal(many[i], alone)
