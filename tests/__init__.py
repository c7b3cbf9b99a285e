"""Tests, by what they need: `pure` nothing, `process` processes, `services` servers, `stack` the whole."""
