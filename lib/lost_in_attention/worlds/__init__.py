"""What the embedded worlds share: grounds and places, facts of a scene, the originals' schemas."""
