"""Lints and renders a Helm chart with Helm's own engine; prints one JSON object.

    chart.py CHART VALUES

VALUES is JSON. What comes out is judged in xtask/src/deploy/kubernetes.rs.
"""

import json
import sys

import helm_python as helm
import yaml


def main(path, values):
    report = helm.lint(path, values, strict=True)
    with helm.Chart.load(path) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name="tcpwnd", namespace="tcpwnd")
    manifests = {
        name: text
        for name, text in sorted(rendered.items())
        if name.endswith(".yaml") and text.strip()
    }
    manifest = "".join(
        f"---\n# Source: {name}\n{text.strip()}\n" for name, text in manifests.items()
    )
    notes = [text for name, text in rendered.items() if name.endswith("NOTES.txt")]
    return {
        "findings": report["messages"],
        "manifest": manifest,
        "notes": "".join(notes),
        "objects": [object for object in yaml.safe_load_all(manifest) if object],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
