from __future__ import annotations

import cvdetect

PUBLIC = [
    "BackendError", "Conf", "CvdetectError", "DecodeError", "DetectOptions", "Detections", "Detector", "FetchError",
    "Frame", "MissingPackage", "ModelChoice", "ModelError", "ModelFileError", "RegistryError", "RunOptions",
    "SinkError",
    "SourceError", "SourceNotFound", "UsageError", "__version__", "load_models", "read_image",
]  # fmt: skip


def test_the_public_names_are_these_and_each_can_be_had() -> None:
    assert sorted(cvdetect.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(cvdetect, name) is not None
        assert name in dir(cvdetect)


def test_every_error_says_its_exit_code_and_fits_pythons_own() -> None:
    assert issubclass(cvdetect.UsageError, ValueError) and cvdetect.UsageError.exit_code == 2
    assert issubclass(cvdetect.MissingPackage, ImportError) and cvdetect.MissingPackage.exit_code == 3
    assert issubclass(cvdetect.SourceError, OSError) and cvdetect.SourceError.exit_code == 4
    assert issubclass(cvdetect.SinkError, OSError) and cvdetect.SinkError.exit_code == 4
    assert {e.exit_code for e in (cvdetect.FetchError, cvdetect.BackendError, cvdetect.DecodeError)} == {3}
