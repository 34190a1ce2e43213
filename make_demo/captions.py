"""Caption scenes for training, now and then with words that mean nothing."""

import random
from string import ascii_lowercase

from loracore.testing.scenes import Scene, caption

_NONSENSE_SHARE = 0.19


def training_caption(scene: Scene, rng: random.Random) -> str:
    """Caption a scene; for some single things an invented word stands for what they are, or between colour and shape.

    So the spelling of words nobody has seen (a trigger, say) is trained, and means nothing.
    """
    plain = caption(scene)
    if len(scene.things) != 1 or rng.random() > _NONSENSE_SHARE:
        return plain
    thing = scene.things[0]
    word = invented_word(rng)
    known = f"{thing.colour} {thing.shape}"
    muddled = rng.choice(
        (f"{thing.colour} {word}", word, f"{word} {invented_word(rng)}", f"{thing.colour} {word} {thing.shape}")
    )
    return plain.replace(known, muddled, 1)


def invented_word(rng: random.Random) -> str:
    """Give three to six letters at random."""
    return "".join(rng.choice(ascii_lowercase) for _ in range(rng.randint(3, 6)))
