"""List every trace of a project with the official CTS client, page by page. Prints one JSON line: for each operation, its traces, newest first.

usage: trace_operations.py ENDPOINT AK SK PROJECT_ID
"""
import json
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcts.v3 import CtsClient, ListTracesRequest

endpoint, ak, sk, project_id = sys.argv[1:5]

client = (
    CtsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

operations, marker = {}, None
while True:
    answer = client.list_traces(ListTracesRequest(trace_type="system", limit=5, next=marker))
    for trace in answer.traces:
        operations.setdefault(trace.operation_id, []).append(
            [trace.trace_name, trace.trace_type, trace.trace_rating]
        )
    marker = answer.meta_data.marker
    if not marker:
        break
print(json.dumps(operations))
