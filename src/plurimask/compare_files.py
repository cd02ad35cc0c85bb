OUTPUTS = ("runs", "evaluations", "figures", "table.md", "table.json", "index.html")
from plurimask.compare import markdown_table, table_rows


def write_comparison(compared, source, trained, out, watcher):
    return markdown_table(table_rows(compared, trained))
