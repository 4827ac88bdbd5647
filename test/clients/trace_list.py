"""List the traces of one resource with the official CTS client. Prints one JSON line with what the client read.

usage: trace_list.py ENDPOINT AK SK PROJECT_ID RESOURCE_ID PAGE
"""
import json
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcts.v3 import CtsClient, ListTracesRequest

endpoint, ak, sk, project_id, resource_id, page = sys.argv[1:7]

client = (
    CtsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)


def walk(**filters):
    """Every trace, page by page, as the Terraform provider pages."""
    found, marker = [], None
    while True:
        request = ListTracesRequest(trace_type="system", limit=int(page), next=marker, **filters)
        answer = client.list_traces(request)
        found += [trace.to_dict() for trace in answer.traces]
        marker = answer.meta_data.marker
        if not marker:
            return found


traces = walk(resource_id=resource_id)
result = {"traces": traces, "by_user": len(walk(user=traces[-1]["user"]["user_name"]))}
at = traces[-1]["record_time"]
result["inside"] = len(walk(resource_id=resource_id, _from=at - 1, to=at + 1))
result["outside"] = len(walk(resource_id=resource_id, _from=at, to=at + 1))
result["warnings"] = len(walk(resource_id=resource_id, trace_rating="warning"))
result["one"] = [t.trace_name for t in client.list_traces(ListTracesRequest(trace_id=traces[0]["trace_id"])).traces]
try:
    client.list_traces(ListTracesRequest(trace_type="system", limit=201))
    result["refusal"] = None
except ClientRequestException as e:
    result["refusal"] = {"status": e.status_code, "code": e.error_code}
print(json.dumps(result, default=str))
