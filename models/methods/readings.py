"""Methods whose authors published no code: built after a description, known without torch."""

from __future__ import annotations

OUR_READING = (
    "Our reading of a description: its authors published no code, and what the paper leaves open was chosen here. A figure of it "
    "is not a reproduction of theirs."
)
"""Stands in the model card and beside every figure of such a method."""
READINGS = {
    "daol": "DAOL, our reading (Tang et al. 2019)",
    "p_kdgan": "P-KDGAN, our reading (Zhang et al. 2020)",
    "tlsad": "TLSAD, our reading (Feng et al. 2021)",
}
"""Name -> title."""
