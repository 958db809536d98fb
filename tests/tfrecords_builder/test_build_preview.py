import cv2
import numpy as np
import pytest

from tfrecords_builder.build_preview import MAX_WIDTH, write_preview
from tfrecords_builder.images.preprocess import adjust_greys, to_square, to_stored
from tfrecords_builder.images.radiograph import Radiograph
from tfrecords_builder.options import BuildOptions

HEADER, NUMBER_WIDTH, GAP = 44, 36, 8
UNDER_PANEL = 2 + 20 + 40 + 2 * GAP  # frame, note, histogram, gaps
FOOTER = 28


def body(height, width, dtype=np.uint8):
    rows, columns = np.mgrid[:height, :width]
    oval = np.exp(-(((rows / height - 0.5) / 0.4) ** 2) - ((columns / width - 0.6) / 0.2) ** 2)
    grey = 60 + 80 * oval + np.random.default_rng(0).normal(0, 3, (height, width))
    return (grey * (np.iinfo(dtype).max / 255)).astype(dtype)


def panels(path, rows, columns):
    """The uint8 panels [rows, columns, side, side] of a preview, by its layout."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture.ndim == 2 and picture.dtype == np.uint8
    side = (picture.shape[1] - NUMBER_WIDTH) // columns - GAP
    row_height = side + UNDER_PANEL
    assert picture.shape == (HEADER + rows * row_height + FOOTER, NUMBER_WIDTH + columns * (side + GAP))
    tops = [HEADER + row * row_height + 1 for row in range(rows)]
    lefts = [NUMBER_WIDTH + column * (side + GAP) for column in range(columns)]
    return np.array([[picture[top : top + side, left : left + side] for left in lefts] for top in tops]), picture


def test_every_step_has_its_panel(tmp_path):
    path = tmp_path / "deep" / "preview.png"
    radiographs = [Radiograph(body(300, 200)), Radiograph(body(64, 64)), Radiograph(body(500, 900, np.uint16))]
    options = BuildOptions(clahe="before_resize", histogram="stretch", square="pad", image_sizes=(16, 64))
    write_preview(radiographs, options, path)
    drawn, picture = panels(path, rows=3, columns=6)
    side = drawn.shape[-1]
    assert picture.shape[1] <= MAX_WIDTH and side == 256
    for radiograph, row in zip(radiographs, drawn, strict=True):
        read, stretched, with_clahe, square, smallest, larger = row.astype(int)
        # A change that a step makes is to be seen: the picture of the step differs from the one before.
        assert np.abs(stretched - read).mean() > 5 and np.abs(with_clahe - stretched).mean() > 1
        assert stretched.std() > read.std()
        image = adjust_greys(radiograph, options)
        for size, panel in ((16, smallest), (64, larger)):
            np.testing.assert_array_equal(panel, np.kron(to_square(image, size, "pad"), np.ones((side // size,) * 2)))
    tall, wide = drawn[0, 3], drawn[2, 3]
    assert not tall[:, :40].any() and not wide[:55].any() and tall[:, 128].any()  # the borders that "pad" adds
    assert set(np.unique(drawn[0, 0][:, :40])) == {38}  # the file keeps its aspect ratio, beside it is background
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left


def test_clahe_after_the_resize_is_drawn_beside_each_size(tmp_path):
    radiograph = Radiograph(body(300, 200))
    options = BuildOptions(clahe="after_resize", image_sizes=(32, 64))
    write_preview([radiograph], options, tmp_path / "preview.png")
    (row,), _ = panels(tmp_path / "preview.png", rows=1, columns=6)
    stored = to_stored(adjust_greys(radiograph, options), (32, 64), options)
    for size, before, after in ((32, row[2], row[3]), (64, row[4], row[5])):
        enlarged = np.ones((before.shape[0] // size,) * 2)
        np.testing.assert_array_equal(before, np.kron(to_square(radiograph.pixels, size), enlarged))
        np.testing.assert_array_equal(after, np.kron(stored[size], enlarged))
        assert after.std() > before.std()


def test_steps_that_are_off_have_no_panel(tmp_path):
    path = tmp_path / "preview.png"
    write_preview([Radiograph(body(128, 256))], BuildOptions(image_sizes=(32,)), path)
    (row,), _ = panels(path, rows=1, columns=3)
    read, square, final = row.astype(int)
    assert set(np.unique(read[:95])) == {38} and set(np.unique(read[95, 32:-32])) == {96}  # a frame, background above
    assert (square[32:-32, 32:-32] > 40).all() and set(np.unique(square[:31])) == {38}  # squashed: 256 x 256
    np.testing.assert_array_equal(final, np.kron(to_square(body(128, 256), 32), np.ones((10, 10))))
    assert np.abs(square[40:-40, 40:-40].mean() - final[10:-10, 10:-10].mean()) < 3


def test_records_of_sixteen_bits_look_like_those_of_eight(tmp_path):
    radiograph = Radiograph(body(256, 256, np.uint16))
    drawn = []
    for bits in (8, 16):
        options = BuildOptions(clahe="before_resize", histogram="equalize", square="crop", resize="bilinear", bits=bits)
        write_preview([radiograph], options, tmp_path / f"{bits}.png")
        drawn.append(panels(tmp_path / f"{bits}.png", rows=1, columns=5)[0].astype(int))
    difference = np.abs(drawn[0] - drawn[1])
    assert difference.max() <= 12 and difference.mean() < 1


def test_the_histogram_strip_shows_where_the_levels_are(tmp_path):
    image = np.full((64, 64), 64, np.uint8)
    image[:, 32:] = 190
    write_preview([Radiograph(image)], BuildOptions(), tmp_path / "preview.png")
    drawn, picture = panels(tmp_path / "preview.png", rows=1, columns=3)
    side = drawn.shape[-1]
    strip = picture[HEADER + side + 2 + 20 :][:40, NUMBER_WIDTH : NUMBER_WIDTH + side]
    (bars,) = np.nonzero((strip > 100).all(0))
    levels = np.unique(bars * 256 // side // 4)
    assert levels.tolist() == [64 // 4, 190 // 4]


def test_captions_are_drawn(tmp_path):
    write_preview([Radiograph(body(90, 90))], BuildOptions(image_sizes=(32,)), tmp_path / "preview.png")
    drawn, picture = panels(tmp_path / "preview.png", rows=1, columns=3)
    for column in range(3):  # each panel has words above it, bright enough to read
        left = NUMBER_WIDTH + column * (drawn.shape[-1] + GAP)
        caption = picture[:HEADER, left : left + drawn.shape[-1]]
        assert caption.max() >= 200 and 0.005 < (caption > 120).mean() < 0.2
    assert (picture[HEADER:-FOOTER, : NUMBER_WIDTH - GAP] > 200).any()  # the row's number


def test_a_whole_pyramid_fits_the_width(tmp_path):
    sizes = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
    options = BuildOptions(clahe="before_resize", histogram="stretch", image_sizes=sizes, bits=16)
    write_preview([Radiograph(body(100, 1))] * 2, options, tmp_path / "preview.png")
    drawn, picture = panels(tmp_path / "preview.png", rows=2, columns=4 + len(sizes))
    assert picture.shape[1] <= MAX_WIDTH and drawn.shape[-1] == 128


def test_no_radiograph_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="expects at least one radiograph, got none"):
        write_preview([], BuildOptions(), tmp_path / "preview.png")
    assert not list(tmp_path.iterdir())
