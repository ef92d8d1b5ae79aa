"""The wire format: records, their words, their encoding, their schema; WIRE.md is for who reads them."""
