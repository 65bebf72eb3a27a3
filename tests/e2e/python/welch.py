"""Says with SciPy what an experiment did, from the file that it was recorded in.

It shares nothing with Sluice but the question. Usage:

    welch.py FILE UNIT GROUP CONTROL COLUMN… [--drop COLUMN=VALUE,COLUMN=VALUE]…

prints, for each column and group, what a scorecard has.
"""

import csv
import json
import sys

import numpy as np
from scipy import stats

WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "": 0.0, "na": 0.0}


def number(text):
    low = text.strip().lower()
    return WORDS[low] if low in WORDS else float(text)


def read(path, unit, group, columns, drop):
    """The sum of each column over each unit's lines; units in two groups are none."""
    units = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file, delimiter=";" if path.endswith(".semicolon.csv") else ","):
            if any(all(line[c] == v for c, v in one) for one in drop):
                continue
            groups, values = units.setdefault(line[unit], (set(), np.zeros(len(columns))))
            groups.add(line[group])
            values += [number(line[c]) for c in columns]
    arms = {}
    for groups, values in units.values():
        if len(groups) == 1:
            arms.setdefault(next(iter(groups)), []).append(values)
    return {name: np.array(values) for name, values in arms.items()}


def compare(control, treatment, share):
    welch = stats.ttest_ind(treatment, control, equal_var=False)
    interval = welch.confidence_interval(0.95)
    out = {
        "n": len(treatment), "mean": treatment.mean(), "variance": treatment.var(ddof=1), "difference": treatment.mean() - control.mean(),
        "lift": (treatment.mean() - control.mean()) / abs(control.mean()), "t": welch.statistic, "df": welch.df, "p": welch.pvalue,
        "low": interval.low, "high": interval.high,
    }
    if share:
        x = [treatment.sum(), control.sum()]
        table = [[x[0], len(treatment) - x[0]], [x[1], len(control) - x[1]]]
        chi = stats.chi2_contingency(table, correction=False)
        wilson = stats.binomtest(int(x[0]), len(treatment)).proportion_ci(0.95, "wilson")
        out |= {"z2": chi.statistic, "zp": chi.pvalue, "wilsonLow": wilson.low, "wilsonHigh": wilson.high}
    return out


def main(path, unit, group, control, *rest):
    drop, columns, rest = [], [], list(rest)
    while rest:
        word = rest.pop(0)
        if word == "--drop":
            drop.append([one.split("=", 1) for one in rest.pop(0).split(",")])
        else:
            columns.append(word)
    arms = read(path, unit, group, [c.removesuffix(":share") for c in columns], drop)
    answer = {}
    for i, column in enumerate(columns):
        share = column.endswith(":share")
        of = {name: (values[:, i] > 0).astype(float) if share else values[:, i] for name, values in arms.items()}
        answer[column.removesuffix(":share")] = {name: compare(of[control], values, share) for name, values in of.items() if name != control}
    json.dump(answer, sys.stdout, default=float)


main(*sys.argv[1:])
