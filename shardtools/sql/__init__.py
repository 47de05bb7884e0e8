"""SQL over the manifests of datasets: DuckDB sessions, named questions, results as files."""

from shardtools.sql.facts import SETTING_COLUMNS, count_labels, count_statuses, count_values
from shardtools.sql.named import NamedQuery, Parameter, find_query, named_queries
from shardtools.sql.output import save, to_json_value, write_csv, write_json, write_parquet
from shardtools.sql.session import Rows, Session, query

__all__ = [
    "SETTING_COLUMNS",
    "NamedQuery",
    "Parameter",
    "Rows",
    "Session",
    "count_labels",
    "count_statuses",
    "count_values",
    "find_query",
    "named_queries",
    "query",
    "save",
    "to_json_value",
    "write_csv",
    "write_json",
    "write_parquet",
]
