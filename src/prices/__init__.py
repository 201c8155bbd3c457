"""What tokens cost, and how many there were where nobody has told.

    own prices ─┐
    library ────┴─▶ rates per token ──▶ cost        text ──▶ tokens, estimated

Knows no provider's formats: it is given figures, names and texts.
"""
