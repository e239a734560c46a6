import numpy as np
import pytest
from PIL import Image

from bagwise.errors import BagwiseError
from bagwise.reports.pictures import colour_picture, ink_picture, layer_picture


@pytest.mark.parametrize(
    "told", [ValueError("encoding error 1"), OSError("encoder error -9 when writing image file"), KeyError("WEBP")]
)
@pytest.mark.parametrize(("picture", "channels"), [(ink_picture, ()), (colour_picture, (3,)), (layer_picture, (4,))])
def test_an_encoder_that_gets_no_memory_is_told_of(monkeypatch, picture, channels, told):
    def save(*_, **__):
        raise told

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(BagwiseError, match="memory ran out"):
        picture(np.zeros((2, 2, *channels), np.uint8))
