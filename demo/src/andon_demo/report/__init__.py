"""What the demo leaves behind, from the same facts: `report.json` for machines, `report.html` for people."""
