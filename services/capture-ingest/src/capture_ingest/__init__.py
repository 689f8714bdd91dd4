"""Takes images in, by HTTP, from a folder or by MQTT, and answers only when they are safe (M2)."""
