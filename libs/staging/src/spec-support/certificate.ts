/** A key pair of nobody, for the name `files.example.test`; valid for a hundred years so that no test fails by the calendar. */
export const CERTIFICATE = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQggN/SafKGnwRXn1aV
xqScM0z5YjT3k8IpoSENelmIDEuhRANCAATxrTlqkmCRWUcpv6L6UQPbe/uK0Vm5
om0ofN6Ccs4SGcrxF+HOoQyiO8uJBozjF99ePsx5dqasJI07hIj0aepN
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBsDCCAVagAwIBAgIUKuE30qH3v4kaVVoledA3+1OEKlgwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSZmlsZXMuZXhhbXBsZS50ZXN0MCAXDTI2MTEyNDExNDkxOVoY
DzIxMjYxMDMxMTE0OTE5WjAdMRswGQYDVQQDDBJmaWxlcy5leGFtcGxlLnRlc3Qw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATxrTlqkmCRWUcpv6L6UQPbe/uK0Vm5
om0ofN6Ccs4SGcrxF+HOoQyiO8uJBozjF99ePsx5dqasJI07hIj0aepNo3IwcDAd
BgNVHQ4EFgQUHh89PIJqDJUY3pCUzUS6THLodPEwHwYDVR0jBBgwFoAUHh89PIJq
DJUY3pCUzUS6THLodPEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHREEFjAUghJmaWxl
cy5leGFtcGxlLnRlc3QwCgYIKoZIzj0EAwIDSAAwRQIhAO+ib6CuRqQRBDrLwdwF
LcXAPMqJRKpIc3tbrTkSiK2kAiAokLlj9dauVXjuAsgC2oguDyV2rck/1+n9m26b
pNohaQ==
-----END CERTIFICATE-----
`,
};
