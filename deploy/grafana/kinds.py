"""Expressions, and the kinds of panels, in the JSON of Grafana 10.3 and later."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

OURS = 'namespace=~"$namespace", job="$job", instance=~"$instance"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24  # of Grafana's grid
GREEN, AMBER, RED, BLUE, GREY = "green", "orange", "red", "blue", "#808080"

# -- expressions -----------------------------------------------------------------------------------


def of(name: str, labels: str = "") -> str:
    """The metric, of the relays that are chosen above."""
    return f"{name}{{{OURS}{', ' + labels if labels else ''}}}"


def rate(name: str) -> str:
    return f"rate({of(name)}[$__rate_interval])"


def increase(name: str) -> str:
    return f"increase({of(name)}[$__rate_interval])"


# -- panels ----------------------------------------------------------------------------------------


def steps(*bounds: tuple[float | None, str]) -> Json:
    """From the first value on the first colour, and so on; None: from below."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": color} for value, color in bounds],
    }


def words(**texts: tuple[str, str]) -> list[Json]:
    """A text and a colour in place of a number: _0=("away", RED)."""
    options = {
        value.removeprefix("_"): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def nothing(text: str, color: str) -> Json:
    """The same where no relay says anything."""
    result = {"text": text, "color": color, "index": 9}
    return {"type": "special", "options": {"match": "null+nan", "result": result}}


PLAIN = steps((None, GREEN))
NONE_IS_GOOD = steps((None, GREEN), (1, RED))
IS_UP = words(_0=("away", RED), _1=("up", GREEN))


def target(expression: str, legend: str = "", **more: Any) -> Json:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": legend or "__auto",
        "range": True,
        **more,
    }


def panel(kind: str, title: str, width: int, targets: list[Json], **more: Any) -> Json:
    """width: of 24. runbook: a section of the README. note: said before the metrics' HELP."""
    return {"type": kind, "title": title, "width": width, "targets": targets, **more}


def stat(title: str, width: int, expression: str, *, unit: str = "short", **more: Any) -> Json:
    """One number, coloured by its thresholds or words: that of now. What a relay said before it went
    away is none."""
    none = more.pop("none", ("no data", GREY))
    defaults = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": more.pop("thresholds", PLAIN),
        "mappings": [*more.pop("mappings", []), nothing(*none)],
        "noValue": none[0],
    }
    options = {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": more.pop("text", "auto"),
    }
    query = [target(expression, more.pop("legend", ""), range=False, instant=True)]
    return panel(
        "stat", title, width, query, height=4, options=options, defaults=defaults, **more
    )


def series(title: str, width: int, targets: list[Json], *, unit: str, **more: Any) -> Json:
    """Lines over time; limit: a line that is drawn where it gets too much."""
    limit, stacked = more.pop("limit", None), more.pop("stacked", False)
    custom = {
        "drawStyle": "line",
        "fillOpacity": 30 if stacked else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if limit else "off"},
    }
    defaults = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": steps((None, GREEN), (limit, RED)) if limit else PLAIN,
    }
    options = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, width, targets, options=options, defaults=defaults, **more)


def states(title: str, width: int, targets: list[Json], mappings: list[Json], **more: Any) -> Json:
    """A bar each, in the colour of its state, over time."""
    defaults = {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "mappings": mappings,
        "thresholds": PLAIN,
    }
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel(
        "state-timeline", title, width, targets, options=options, defaults=defaults, **more
    )


def heatmap(title: str, width: int, expression: str, *, unit: str, **more: Any) -> Json:
    """Of a histogram's buckets."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    query = [target(expression, "{{le}}", format="heatmap")]
    return panel("heatmap", title, width, query, options=options, defaults={}, **more)


def table(title: str, columns: dict[str, str], names: dict[str, str], **more: Any) -> Json:
    """columns: the expression of each, asked for now; names: which labels come first, and how they
    are headed. Rows of equal labels are one."""
    queries = [
        target(each, range=False, instant=True, format="table") for each in columns.values()
    ]
    values = [f"Value #{chr(65 + n)}" for n in range(len(columns))]
    if len(columns) == 1:
        values = ["Value"]
    headed = {**names, **dict(zip(values, columns))}
    transformations = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "__name__": True} | more.pop("hidden", {}),
                "indexByName": {name: index for index, name in enumerate(headed)},
                "renameByName": {name: title for name, title in headed.items() if title},
            },
        },
    ]
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}}, "thresholds": PLAIN}
    options = {"showHeader": True, "cellHeight": "sm"}
    return panel(
        "table",
        title,
        WIDTH,
        queries,
        options=options,
        defaults=defaults,
        transformations=transformations,
        **more,
    )
