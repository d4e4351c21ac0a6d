"""Every call of the official client, one after the other; run by the client's own interpreter.

Reads {"address", "keys", "pictures"} from standard input, prints {name of call: answer}.
"""

import json
import sys

from compreface import CompreFace

OPTIONS = {
    "limit": 0,
    "det_prob_threshold": 0.8,
    "prediction_count": 2,
    "face_plugins": "calculator,landmarks",
    "status": True,
}
DETECT = {name: value for name, value in OPTIONS.items() if name != "prediction_count"}


def calls(
    address: str, keys: dict[str, str], pictures: dict[str, str]
) -> dict[str, dict[str, object]]:
    domain, port = address.rsplit(":", 1)
    client = CompreFace(domain, port, OPTIONS)
    recognition = client.init_face_recognition(keys["recognition"])
    detection = client.init_face_detection(keys["detection"])
    verification = client.init_face_verification(keys["verification"])
    faces, subjects = recognition.get_face_collection(), recognition.get_subjects()
    alice, also_alice, bob, blank = (pictures[n] for n in ("alice", "also_alice", "bob", "blank"))
    said: dict[str, dict[str, object]] = {}

    def say(name: str, answer: dict[str, object]) -> dict[str, object]:
        said[name] = answer
        return answer

    say("subjects.add", subjects.add("Alice"))
    say("subjects.add again", subjects.add("alice"))
    first = say("faces.add", faces.add(alice, "Alice"))
    with open(bob, "rb") as stream:
        say("faces.add bytes", faces.add(stream.read(), "Bob", {"det_prob_threshold": 0.8}))
    say("faces.add blank", faces.add(blank, "Nobody"))
    say("faces.list", faces.list())
    say("subjects.list", subjects.list())
    say("recognize", recognition.recognize(also_alice))
    say("recognize with options", recognition.recognize(also_alice, {"limit": 1}))
    say("recognize blank", recognition.recognize(blank))
    say("faces.verify", faces.verify(also_alice, first["image_id"]))
    say("faces.verify other", faces.verify(bob, first["image_id"], {"status": True}))
    say("detect", detection.detect(alice))
    say("detect with options", detection.detect(alice, DETECT))
    say("verify", verification.verify(alice, also_alice))
    say("verify other", verification.verify(alice, bob, DETECT))
    say("subjects.update", subjects.update("Bob", "Robert"))
    say("subjects.list renamed", subjects.list())
    say("faces.delete", faces.delete(first["image_id"]))
    say("faces.delete again", faces.delete(first["image_id"]))
    say("faces.delete_all", faces.delete_all("Robert"))
    say("subjects.add carol", subjects.add("Carol"))
    say("subjects.delete", subjects.delete("Carol"))
    say("subjects.delete without a name", subjects.delete(""))
    subjects.add("Dave")
    say("subjects.delete_all", subjects.delete_all())
    say("subjects.list empty", subjects.list())
    say("wrong key", client.init_face_detection(keys["recognition"]).detect(alice))
    return said


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump(calls(asked["address"], asked["keys"], asked["pictures"]), sys.stdout)
