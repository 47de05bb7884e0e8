"""The shaders, GLSL 3.30."""

_OBJECT_VERTEX = """
#version 330
uniform mat4 to_clip;
uniform mat4 to_light;
uniform mat3 turn;
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
out vec3 place;
out vec3 normal;
out vec3 light_place;
out vec2 uv;
void main() {
    place = turn * in_position;
    normal = turn * in_normal;
    uv = in_uv;
    light_place = (to_light * vec4(place, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = to_clip * vec4(place, 1.0);
}
"""

_OBJECT_FRAGMENT = """
#version 330
uniform sampler2D picture;
uniform sampler2DShadow shadow_map;
uniform vec4 color;
uniform vec3 eye;
uniform vec3 towards_light;
uniform vec3 light_color;
uniform float ambient;
in vec3 place;
in vec3 normal;
in vec3 light_place;
in vec2 uv;
out vec4 result;
void main() {
    vec4 own = texture(picture, uv) * color;
    // Leaves and fences are cut out of their pictures.
    if (color.a >= 0.999) {
        if (own.a < 0.5) discard;
        own.a = 1.0;
    }
    vec3 toward = normalize(eye - place);
    vec3 facing = normalize(normal);
    // Many meshes have single or turned-over faces: a normal is on the viewer's side.
    if (dot(facing, toward) < 0.0) facing = -facing;
    float incidence = dot(facing, towards_light);
    float lit = 0.0;
    if (incidence > 0.0) {
        // Slanted surfaces need more room, or they shade themselves.
        float bias = 0.004 + 0.012 * (1.0 - incidence);
        lit = incidence * texture(shadow_map, vec3(light_place.xy, light_place.z - bias));
    }
    vec3 light = vec3(ambient) + (1.0 - ambient) * lit * light_color;
    result = vec4(own.rgb * light * own.a, own.a);
}
"""

OBJECT_SHADERS = {"vertex_shader": _OBJECT_VERTEX, "fragment_shader": _OBJECT_FRAGMENT}
"""Draws the object; color times opacity."""

_GROUND_VERTEX = """
#version 330
uniform mat4 to_clip;
uniform mat4 to_light;
in vec3 in_position;
out vec3 light_place;
void main() {
    light_place = (to_light * vec4(in_position, 1.0)).xyz * 0.5 + 0.5;
    gl_Position = to_clip * vec4(in_position, 1.0);
}
"""

_GROUND_FRAGMENT = """
#version 330
uniform sampler2DShadow shadow_map;
uniform float opacity;
in vec3 light_place;
out vec4 result;
void main() {
    // The ground lies behind all that casts a shadow, beyond the light's box.
    float depth = min(light_place.z - 0.004, 1.0);
    float shade = 0.0;
    for (int y = -1; y <= 1; y++)
        for (int x = -1; x <= 1; x++)
            shade += 1.0 - texture(shadow_map, vec3(light_place.xy + vec2(x, y) / 340.0, depth));
    result = vec4(0.0, 0.0, 0.0, opacity * shade / 9.0);
}
"""

GROUND_SHADERS = {"vertex_shader": _GROUND_VERTEX, "fragment_shader": _GROUND_FRAGMENT}
"""Draws the shadow on the ground: black, as opaque as it is dark."""

_DEPTH_VERTEX = """
#version 330
uniform mat4 to_light;
in vec3 in_position;
in vec2 in_uv;
out vec2 uv;
void main() {
    uv = in_uv;
    gl_Position = to_light * vec4(in_position, 1.0);
}
"""

_DEPTH_FRAGMENT = """
#version 330
uniform sampler2D picture;
in vec2 uv;
void main() {
    if (texture(picture, uv).a < 0.5) discard;
}
"""

DEPTH_SHADERS = {"vertex_shader": _DEPTH_VERTEX, "fragment_shader": _DEPTH_FRAGMENT}
"""Draws what the light sees, its depth alone."""
