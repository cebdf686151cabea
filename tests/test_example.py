"""The journey of one device through the example project."""

import pytest

pytestmark = pytest.mark.django_db


def test_a_device_signs_in_calls_refreshes_and_signs_out(device):
    assert device.call().json()["email"] == device.user.email
    first = device.tokens["refresh_token"]
    assert device.refresh().status_code == 200
    assert device.tokens["refresh_token"] != first
    assert device.call().status_code == 200
    assert device.post("logout", **device.bearer).status_code == 204
    ended = device.call()
    assert ended.status_code == 401
    assert ended.json()["code"] == "SESSION_ENDED"
    assert ended.json()["reason"] == "logout"
