"""ImageScope's unnamed layers: what their other texts say, and when they are lesions."""

from __future__ import annotations

import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.slides.outlines.reading import read_areas
from tests.preprocessing.slides.outlines.test_reading import ring, vertices


def layer(*regions, name="", description=""):
    """`regions`: XML of each; a layer as ImageScope 12 writes it."""
    return (
        f'<Annotation Id="1" Name="{name}"><Attributes><Attribute Name="Description" Id="0" Value="{description}"/></Attributes>'
        '<Regions><RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region" ColumnWidth="-1"/></RegionAttributeHeaders>'
        f"{''.join(regions)}</Regions><Plots/></Annotation>"
    )


def region(x=0, text="", attribute=None):
    said = "" if attribute is None else f'<Attribute Name="{attribute[0]}" Id="0" Value="{attribute[1]}"/>'
    return (
        f'<Region Id="1" Type="0" NegativeROA="0" Text="{text}"><Attributes>{said}</Attributes>'
        f"<Vertices>{vertices(ring(x, 0, 10))}</Vertices></Region>"
    )


def read(folder, *layers, classes=None):
    (folder / "a.xml").write_text(f'<Annotations MicronsPerPixel="0.5">{"".join(layers)}</Annotations>')
    return read_areas(folder / "a.xml", classes)


def test_a_lone_unnamed_layer_without_any_text_is_tumour(tmp_path):
    assert read(tmp_path, layer(region(), region(40))).understood == {"anomaly": {"None": 2}}
    assert read(tmp_path, layer(region()), layer()).tumour.area == 100


@pytest.mark.parametrize(
    "whole",
    [
        layer(region(), description="fold"), layer(region(text="fold")), layer(region(attribute=("Description", "fold"))),
        layer(region(attribute=("0", "fold"))),
    ],
)  # fmt: skip
def test_what_the_other_texts_of_an_unnamed_layer_say_is_asked_about(tmp_path, whole):
    with pytest.raises(InputError, match=r"1 of 'fold'.*--outline-class"):
        read(tmp_path, whole)
    assert read(tmp_path, whole, classes={"Fold": "anomaly"}).tumour.area == 100
    for text in ("Normal", "Tumor"):  # a remark, which may be about anything
        with pytest.raises(InputError, match=rf"1 of '{text}'.*--outline-class"):
            read(tmp_path, whole.replace("fold", text))


def test_a_layers_name_comes_before_its_other_texts_and_figures_are_none(tmp_path):
    assert read(tmp_path, layer(region(text="1"), name="Tumor", description="x")).tumour.area == 100
    assert read(tmp_path, layer(region(attribute=("Area", "12.5")))).tumour.area == 100


@pytest.mark.parametrize(
    "layers", [[layer(region()), layer(region(40))], [layer(region()), layer(name="Tumor")]]
)
def test_several_layers_of_which_some_are_unnamed_are_asked_about(tmp_path, layers):
    with pytest.raises(InputError, match=r"of 'None'.*--outline-class"):
        read(tmp_path, *layers)
    assert read(tmp_path, *layers, classes={"none": "anomaly"}).tumour.area >= 100
    with pytest.raises(InputError, match=r"1 of 'None'"):
        read(tmp_path, layer(region(), region(40, text="Tumor")))
