"""How good is a model: its answers judged, with intervals, and against another model's."""
