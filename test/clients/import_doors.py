"""Make one image by one call of the official SDK and wait for its job. Prints one JSON line with what the service answered.

usage: import_doors.py ENDPOINT AK SK PROJECT_ID OPERATION BODY
OPERATION is a method of the SDK's client; BODY is the request's body as JSON.
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkims import v2

endpoint, ak, sk, project_id, operation, body = sys.argv[1:7]

MODELS = {
    "create_data_image": (v2.CreateDataImageRequest, v2.CreateDataImageRequestBody),
    "create_data_image_in_safe_mode": (v2.CreateDataImageInSafeModeRequest, v2.CreateDataImageRequestBody),
    "create_whole_image": (v2.CreateWholeImageRequest, v2.CreateWholeImageRequestBody),
    "import_image_quick": (v2.ImportImageQuickRequest, v2.QuickImportImageByFileRequestBody),
    "import_image_quick_in_safe_mode": (v2.ImportImageQuickInSafeModeRequest, v2.QuickImportImageByFileRequestBody),
}

client = (
    v2.ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

request_model, body_model = MODELS[operation]
accepted = getattr(client, operation)(request_model(body=body_model(**json.loads(body))))

deadline = time.monotonic() + 120
while True:
    job = client.show_job(v2.ShowJobRequest(job_id=accepted.job_id))
    if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
        break
    time.sleep(0.2)

result = {"job": job.to_dict()}
if job.status == "SUCCESS":
    listed = client.list_images(v2.ListImagesRequest(id=job.entities.image_id)).images
    result["list"] = [image.to_dict() for image in listed]
print(json.dumps(result, default=str))
