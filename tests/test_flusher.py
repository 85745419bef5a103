"""The thread behind buffered commits can be stopped at any moment."""

from __future__ import annotations

from holdfast.flusher import Flusher


def test_a_stop_between_the_wait_and_the_work_is_heard():
    flusher = Flusher(lambda: None)
    clear = flusher._wanted.clear

    def stop_then_clear():
        flusher._stopped.set()
        flusher._wanted.set()
        clear()

    flusher._wanted.clear = stop_then_clear
    flusher.wake()
    flusher._thread.join(10)
    assert not flusher._thread.is_alive()
