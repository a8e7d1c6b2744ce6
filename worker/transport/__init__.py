"""The Faust transport that hands over whole record batches. Alone knows Faust and aiokafka."""
