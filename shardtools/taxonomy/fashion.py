"""The ten classes of Fashion-MNIST as WordNet synsets, in label order.

Owns the choice of each synset. The labels are shop categories and the synsets are dictionary senses, so no match is
perfect; each choice is the sense whose pictures come closest, and where ImageNet has that synset as a class it is
preferred.
"""

from __future__ import annotations

FASHION_SYNSETS: dict[str, tuple[str, str]] = {
    "T-shirt/top": ("n03595614", "jersey.n.03 is WordNet's synset for T-shirt and tee shirt, and an ImageNet-1K class"),
    "Trouser": ("n04489008", "trouser.n.01: a garment from waist to ankle that covers each leg separately"),
    "Pullover": ("n04021028", "pullover.n.01: a sweater put on by pulling it over the head"),
    "Dress": (
        "n03236735",
        "dress.n.01: a one-piece garment for a woman, with skirt and bodice; not gown, its formal kind",
    ),
    "Coat": (
        "n03057021",
        "coat.n.01: an outer garment with sleeves, covering from shoulder down; wider than trench coat",
    ),
    "Sandal": ("n04133789", "sandal.n.01: a sole held on by straps; an ImageNet-1K class"),
    "Shirt": (
        "n04197391",
        "shirt.n.01: a garment for the upper half of the body; the labels mean shirts with collar or placket",
    ),
    "Sneaker": (
        "n03472535",
        "gym_shoe.n.01 holds the lemmas sneaker and tennis shoe; running shoe is only one kind of it",
    ),
    "Bag": (
        "n02774152",
        "bag.n.04 holds handbag, pocketbook and purse; bag.n.01 is any flexible container, paper sacks too",
    ),
    "Ankle boot": ("n02872752", "boot.n.01: footwear that covers foot and lower leg; WordNet 3.0 has no ankle boot"),
}
"""Fashion-MNIST label, in label order -> (wnid, why this synset)."""
