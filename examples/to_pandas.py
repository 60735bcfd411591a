"""The objects of several images as one pandas table, written as CSV. Needs pandas.

python examples/to_pandas.py found.csv MODEL photo1.jpg photo2.jpg
"""

import sys

import pandas as pd

import cvdetect


def main(out: str, model: str, *photos: str) -> None:
    detector = cvdetect.Detector.load(model, conf=0.4)
    tables = {photo: detector.detect(photo).to_pandas() for photo in photos}
    table = pd.concat(tables, names=["photo", "row"]).reset_index("photo")
    table.to_csv(out, index=False)
    print(table.groupby("label")["score"].agg(["count", "mean"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
