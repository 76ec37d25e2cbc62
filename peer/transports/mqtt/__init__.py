"""Links over an MQTT broker."""
