"""The conversation with an agent: frames, requests in flight, streams, and answers with types."""
