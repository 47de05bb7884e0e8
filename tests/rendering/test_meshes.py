"""Outside meshes become a catalogue; what is wrong with one is a line with its name."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import AlreadyExistsError, SourceError
from shardtools.rendering import MeshOptions, MeshPart, make_catalogue, open_catalogue, read_mesh, write_mesh
from shardtools.rendering.meshes import furniture
from shardtools.rendering.meshes.furniture import list_furniture, models, read_member
from shardtools.rendering.meshes.making import MeshResult
from shardtools.rendering.meshes.reading import read_outside
from shardtools.taxonomy import find_synset
from tests.helpers.mesh_files import CUBE, MATERIALS, TRIANGLE, glb, gltf, write_folder
from tests.helpers.pictures import drawing, encode
from tests.helpers.rendered_worlds import triangle

CHAIR, TABLE = "n03001627", "n04379243"
BOX = {
    f"{CHAIR}/box/models/cube.obj": CUBE,
    f"{CHAIR}/box/models/cube.mtl": MATERIALS,
    f"{CHAIR}/box/models/wood.png": encode(drawing(1), "PNG"),
}


def made(tmp_path: Path, files: dict[str, Any], **options: Any) -> MeshResult:
    source = write_folder(tmp_path / "source", files)
    return make_catalogue(MeshOptions(source=source, out=str(tmp_path / "out"), **options))


def refused(tmp_path: Path, files: dict[str, Any]) -> str:
    with pytest.raises(SourceError) as caught:
        made(tmp_path, files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_box_stands_in_the_unit_sphere(tmp_path: Path) -> None:
    result = made(tmp_path, BOX)
    assert result.left_out == result.notes == ()
    (one,) = result.catalogue.objects
    assert (one.wnid, one.object_id, one.num_triangles) == (CHAIR, "box", 12)
    mesh = pickle.loads(pickle.dumps(open_catalogue(str(tmp_path / "out")))).read(one)
    # The half diagonal of 2 x 4 x 4 is 3, and becomes 1/2.
    np.testing.assert_allclose(np.abs(mesh.positions), np.tile([1 / 6, 1 / 3, 1 / 3], (len(mesh.positions), 1)), 1e-6)
    steel, wood = mesh.parts
    # .mtl colors are display values already.
    assert wood.color == pytest.approx((0.5, 0.25, 0.125, 1), abs=0.003) and wood.texture == 0
    assert steel.color == pytest.approx((0.2, 0.4, 0.6, 0.5), abs=0.003) and steel.texture is None
    # A file without normals: corners of a box are sharp.
    assert np.isin(np.abs(mesh.normals), (0, 1)).all()
    assert write_mesh(read_mesh(write_mesh(mesh), "box")) == write_mesh(mesh)


def test_normals_of_a_file_without_any_are_smooth_where_it_is_round(tmp_path: Path) -> None:
    angles = np.arange(24) * np.pi / 12
    vertices = [f"v {np.cos(a)} {y} {np.sin(a)}" for y in (0, 1) for a in angles]
    faces = [f"f {i + 1} {i + 25} {(i + 1) % 24 + 25} {(i + 1) % 24 + 1}" for i in range(24)]
    result = made(tmp_path, {f"{CHAIR}/pipe.obj": "\n".join(vertices + faces)})
    mesh = result.catalogue.read(result.catalogue.objects[0])
    radial = mesh.positions * (1, 0, 1)
    np.testing.assert_allclose(mesh.normals, radial / np.linalg.norm(radial, axis=1, keepdims=True), atol=0.01)


def test_gltf_colors_are_linear_and_mirrors_are_turned_over(tmp_path: Path) -> None:
    mirrored = gltf(nodes=[{"mesh": 0, "scale": [-1, 1, 1]}])
    result = made(tmp_path, {f"{CHAIR}/plain.glb": glb(gltf()), f"{CHAIR}/turned.glb": glb(mirrored)})
    plain, turned = (result.catalogue.read(one) for one in result.catalogue.objects)
    assert plain.parts[0].color == pytest.approx((0.735, 0, 0, 1), abs=0.003)
    np.testing.assert_array_equal(plain.normals, turned.normals)
    assert plain.positions[:, 0].tolist() != turned.positions[:, 0].tolist()


def test_layouts_and_what_the_listing_says(tmp_path: Path) -> None:
    listing = f"wnid,object,license,author,up,front,scale\n{TABLE},1a2b,CC0-1.0,A. Maker,z,x,0.5\n"
    result = made(
        tmp_path,
        {
            "03001627/0a0b/models/model_normalized.obj": CUBE + "f 1 2 3\n",
            "03001627/0a0b/models/other.obj": CUBE,
            f"{TABLE}/1a2b.obj": CUBE,
            "notes/readme.obj": "not below a class",
            "meshes.csv": listing,
        },
    )
    first, second = result.catalogue.objects
    assert (first.wnid, first.object_id, first.num_triangles) == (CHAIR, "0a0b", 13)
    assert (second.license, second.author) == ("CC0-1.0", "A. Maker")
    # z is up and x to the front: 2 x 4 x 4 stands 4 high, 4 wide and 2 deep.
    extents = np.ptp(result.catalogue.read(second).positions, axis=0)
    np.testing.assert_allclose(extents, [1 / 3, 1 / 3, 1 / 6], 1e-5)
    assert sum("lacks cube.mtl" in line for line in result.notes) == 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"n99999999/a.obj": CUBE}, "WordNet 3.0 has no noun synset 'n99999999'"),
        ({f"{CHAIR}/a.obj": CUBE, f"{CHAIR}/b.obj": CUBE}, "b and n03001627/a are one mesh"),
        ({"chairs/a.obj": CUBE}, "holds no meshes"),
        ({f"{CHAIR}/a/x.obj": CUBE, f"{CHAIR}/a/y.obj": CUBE}, "keep one"),
        ({f"{CHAIR}/a.obj": CUBE, "meshes.csv": f"wnid,object\n{CHAIR},b\n"}, "of which there is no mesh"),
        ({f"{CHAIR}/a.obj": CUBE, "meshes.csv": f"wnid,object,scale\n{CHAIR},a,7\n"}, "scale '7'"),
        ({f"{CHAIR}/a.obj": CUBE, "meshes.csv": f"wnid,object,path\n{CHAIR},a,../a.obj\n"}, "names ../a.obj"),
    ],
)
def test_what_would_make_labels_wrong_ends_the_run(tmp_path: Path, files: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path, files)
    assert not (tmp_path / "out" / "meshes.csv").exists()


WRONG = {
    "empty": ("a.obj", "", "no triangles"),
    "points": ("a.obj", "v 0 0 0\nv 1 1 1\n", "no triangles"),
    "nan": ("a.obj", CUBE.replace("v 1 4 2", "v nan 4 2"), "no numbers"),
    "infinite": ("a.obj", CUBE.replace("v 1 4 2", "v 1e999 4 2"), "no numbers"),
    "absurd": ("a.obj", CUBE.replace("v 1 4 2", "v 1 4e30 2"), "is no shape"),
    "flat": ("a.obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "is no shape"),
    "index": ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 2 7\n", "a.obj"),
    "outside": ("a.obj", "mtllib ../../../secret.mtl\n" + CUBE.split("\n", 1)[1], "outside of its folder"),
    "absolute": ("a.obj", "mtllib /etc/passwd\n" + CUBE.split("\n", 1)[1], "outside of its folder"),
    "address": ("a.obj", "mtllib http://example.com/a.mtl\n" + CUBE.split("\n", 1)[1], "outside of its folder"),
    "noise": ("a.glb", b"glTF\x02\0\0\0\xff\xff\xff\xff", "no glTF 2.0"),
    "text": ("a.gltf", "[1, 2]", "no glTF 2.0"),
    "deep": ("a.gltf", "[" * 100_000, "no glTF 2.0"),
    "cut": ("a.glb", glb(gltf())[:-8], "cut short"),
    "circle": ("a.glb", glb(gltf(nodes=[{"mesh": 0, "children": [0]}])), "no tree"),
    "shared": ("a.glb", glb(gltf(nodes=[{"children": [2]}, {"children": [2]}, {"mesh": 0}])), "no tree"),
    "packed": ("a.glb", glb(gltf(extensionsRequired=["KHR_draco_mesh_compression"])), "is packed with"),
    "billion": (
        "a.glb",
        glb(gltf(accessors=[{"componentType": 5126, "count": 10**11, "type": "VEC3"}] * 2)),
        "600,000,000,000 numbers, at most",
    ),
    "copies": (
        "a.glb",
        glb(
            gltf(
                nodes=[{"mesh": 0}] * 90_000,
                scenes=[{"nodes": list(range(90_000))}],
                meshes=[{"primitives": gltf()["meshes"][0]["primitives"] * 300}],
            )
        ),
        "triangles or more",
    ),
    "short": ("a.glb", glb(gltf(), TRIANGLE[:20]), "cannot be read as .glb"),
    "elsewhere": ("a.gltf", '{"buffers":[{"uri":"../b.bin","byteLength":4}],"meshes":[],"accessors":[]}', "outside"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mesh_is_left_out_by_name(tmp_path: Path, name: str) -> None:
    file, content, said = WRONG[name]
    result = made(tmp_path, BOX | {f"{CHAIR}/wrong/{file}": content})
    (line,) = result.left_out
    assert said in line and f"{CHAIR}/wrong" in line and "\n" not in line
    assert [one.object_id for one in result.catalogue.objects] == ["box"]


@given(st.binary(max_size=64), st.integers(0, 400))
def test_no_bytes_get_past_the_reader(noise: bytes, at: int) -> None:
    """Whatever a file holds, it is a mesh or a line."""
    for suffix, content in (("glb", glb(gltf())), ("obj", CUBE.encode())):
        damaged = content[:at] + noise + content[at + len(noise) :]
        try:
            mesh, _ = read_outside("noise", f"a.{suffix}", {f"a.{suffix}": lambda given=damaged: given})
        except SourceError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(mesh.positions).all() and mesh.triangles.max() < len(mesh.positions)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (None, "wood.png"),
        (b"\x89PNG broken", "no picture that is read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture that is read"),
    ],
)
def test_missing_pictures_are_reported(tmp_path: Path, picture: bytes | None, said: str) -> None:
    files: dict[str, Any] = dict(BOX)
    del files[f"{CHAIR}/box/models/wood.png"]
    if picture is not None:
        files[f"{CHAIR}/box/models/wood.png"] = picture
    result = made(tmp_path, files)
    (note,) = result.notes
    assert said in note
    assert result.catalogue.objects[0].num_missing == 1
    assert result.catalogue.read(result.catalogue.objects[0]).textures == ()


def test_a_jpeg_stays_as_it_came(tmp_path: Path) -> None:
    photo = encode(drawing(3), "JPEG")
    files = BOX | {f"{CHAIR}/box/models/cube.mtl": MATERIALS.replace("wood.png", "-s 2 2 1 wood.jpg")}
    files[f"{CHAIR}/box/models/wood.jpg"] = photo
    result = made(tmp_path, files)
    assert result.notes == ()
    assert result.catalogue.read(result.catalogue.objects[0]).textures == (photo,)


def test_names_that_cannot_be_keys_are_left_out(tmp_path: Path) -> None:
    result = made(tmp_path, BOX | {f"{CHAIR}/v1.2.obj": CUBE})
    assert "v1.2 cannot name pictures" in result.left_out[0]


def test_a_catalogue_is_not_made_over_its_source(tmp_path: Path) -> None:
    source = write_folder(tmp_path, BOX)
    with pytest.raises(SourceError, match="is the source too"):
        make_catalogue(MeshOptions(source=source, out=source))


def test_an_altered_or_lost_mesh_is_named(tmp_path: Path) -> None:
    catalogue = made(tmp_path, BOX).catalogue
    file = tmp_path / "out" / catalogue.objects[0].path
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"not what meshes.csv says"):
        catalogue.read(catalogue.objects[0])
    file.unlink()
    with pytest.raises(SourceError, match="is gone"):
        catalogue.read(catalogue.objects[0])
    with pytest.raises(SourceError, match=r"has no meshes.csv"):
        open_catalogue(str(tmp_path / "source" / CHAIR))


def test_the_table_of_the_furniture_is_whole() -> None:
    rows = models()
    sizes: dict[str, int] = {}
    for row in rows:
        assert row.license in ("CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-US")
        assert row.author or row.license == "CC0-1.0"
        sizes[row.wnid] = sizes.get(row.wnid, 0) + 1
    assert all(find_synset(wnid) for wnid in sizes)
    assert sum(size >= 10 for size in sizes.values()) >= 25
    assert len({(row.archive, row.path) for row in rows}) == len(rows)
    assert len({(row.wnid, row.object_id) for row in rows}) == len(rows)


def test_a_sheet_of_the_real_furniture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [row for row in models() if row.wnid == CHAIR][:3] + [row for row in models() if row.wnid == TABLE][:2]
    monkeypatch.setattr(furniture, "models", lambda: few)
    result = make_catalogue(MeshOptions(source="sweethome3d", out=str(tmp_path), sheets=True))
    assert result.left_out == ()
    assert [one.object_id for one in result.catalogue.objects] == [row.object_id for row in few]
    assert all("Debian sweethome3d-furniture" in one.source for one in result.catalogue.objects)
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {f"{CHAIR}.jpg", f"{TABLE}.jpg"}
    for one in result.catalogue.objects:
        reach = np.linalg.norm(result.catalogue.read(one).positions, axis=1).max()
        assert reach == pytest.approx(0.5, abs=1e-5)


def test_archives_that_are_gone_damaged_or_bombs(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="apt-get install sweethome3d-furniture"):
        list_furniture(tmp_path / "nowhere")
    bomb = tmp_path / "Scopia.sh3f"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scopia/a.obj", b"\0" * 4_000_000)
    with pytest.raises(SourceError, match="unpacks to 4,000,000 bytes, at most 1,000,000"):
        read_member(tmp_path, "Scopia.sh3f!scopia/a.obj", 1_000_000)
    with pytest.raises(SourceError, match="cannot be unpacked"):
        read_member(tmp_path, "Scopia.sh3f!scopia/b.obj", 1_000_000)
    bomb.write_bytes(bomb.read_bytes()[:100])
    with pytest.raises(SourceError, match="cannot be unpacked"):
        read_member(tmp_path, "Scopia.sh3f!scopia/a.obj", 1_000_000)


def test_twins_are_found_and_named(tmp_path: Path) -> None:
    """Another width, another color, another order: one mesh. Another shape: none."""
    wide = "\n".join(
        f"v {3 * float(line.split()[1])} {' '.join(line.split()[2:])}" if line.startswith("v ") else line
        for line in CUBE.splitlines()
    )
    wedge = CUBE.replace("v -1 4 -2", "v -1 0.5 -2").replace("v 1 4 -2", "v 1 0.5 -2")
    result = made(tmp_path, {f"{CHAIR}/a.obj": CUBE, f"{CHAIR}/b.obj": wide, f"{CHAIR}/c.obj": wedge})
    assert result.catalogue.twins == ((f"{CHAIR}/a", f"{CHAIR}/b"),)
    assert any("one mesh in two versions" in line for line in result.notes)
    reopened = open_catalogue(str(tmp_path / "out"))
    assert reopened.twins == result.catalogue.twins
    assert reopened.objects == tuple(replace(one) for one in result.catalogue.objects)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"triangles": np.array([[0, 1, 3]], np.uint32)}, "triangles name vertices that are not there"),
        ({"positions": np.full((3, 3), np.nan, np.float32)}, "positions are not all finite"),
        ({"uvs": np.zeros((3, 2))}, "uvs are float64"),
        ({"parts": (MeshPart(first=0, count=2, color=(1.0, 1.0, 1.0, 1.0)),)}, "parts do not cover the triangles"),
        ({"parts": (MeshPart(first=0, count=1, color=(1.0, 1.0, 1.0, 1.0), texture=0),)}, "textures that are not"),
    ],
)
def test_a_prepared_mesh_that_opengl_would_read_beyond_is_refused(changes: dict[str, Any], said: str) -> None:
    content = write_mesh(replace(triangle(0), **changes))
    with pytest.raises(SourceError, match=f"chair.mesh is no prepared mesh .*{said}.*: make the catalogue anew"):
        read_mesh(content, "chair.mesh")


def test_a_catalogue_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", {f"{CHAIR}/a.obj": CUBE})
    options = MeshOptions(source=str(tmp_path / "in"), out=str(tmp_path / "out"))
    make_catalogue(options)
    with pytest.raises(AlreadyExistsError, match=r"there is a catalogue already, .*meshes\.csv: give --replace"):
        make_catalogue(options)
    (tmp_path / "in" / CHAIR / "a.obj").rename(tmp_path / "in" / CHAIR / "b.obj")
    made = make_catalogue(replace(options, replace=True))
    assert [one.object_id for one in made.catalogue.objects] == ["b"]
    assert [path.name for path in (tmp_path / "out" / CHAIR).iterdir()] == ["b.mesh"]


def test_a_noun_that_the_shipped_table_lacks_is_a_class(tmp_path: Path) -> None:
    wall_socket = "n04548771"
    assert find_synset(wall_socket) is None
    write_folder(tmp_path / "in", {f"{wall_socket}/a.obj": CUBE})
    made = make_catalogue(MeshOptions(source=str(tmp_path / "in"), out=str(tmp_path / "out")))
    assert [one.wnid for one in made.catalogue.objects] == [wall_socket]
