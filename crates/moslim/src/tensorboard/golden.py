"""Prints golden.hex, a record per line, with TensorBoard's own code (tensorboard 2.21.0, protobuf 7.36.2)."""

import io

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(step, wall_time, **values):
    value = [summary_pb2.Summary.Value(tag=tag.replace("__", "/"), simple_value=v) for tag, v in values.items()]
    return event_pb2.Event(step=step, wall_time=wall_time, summary=summary_pb2.Summary(value=value))


def text(step, wall_time, tag, text):
    summary = text_pb(tag, text)
    for value in summary.value:
        value.metadata.data_class = summary_pb2.DATA_CLASS_TENSOR  # as tensorboard.data_compat sets it
    return event_pb2.Event(step=step, wall_time=wall_time, summary=summary)


events = [
    event_pb2.Event(wall_time=1785888000.25, file_version="brain.Event:2"),
    scalars(0, 1785888000.25, objective__kl=0.0, lr=3e-6),
    scalars(300, 1785888001.5, objective__scores=-0.41821656, grad_norm=float("inf")),
    scalars(-1, 0.0, x=float("nan")),
    text(300, 1785888002.0, "completions/sample", "héllo **world**\n" + "ab" * 60),
]
for event in events:
    out = io.BytesIO()
    RecordWriter(out).write(event.SerializeToString())
    print(out.getvalue().hex())
