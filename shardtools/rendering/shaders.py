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
    light_place = (to_light * vec4(place, 1.0)).xyz;
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
uniform float ambient;
in vec3 place;
in vec3 normal;
in vec3 light_place;
in vec2 uv;
layout(location = 0) out vec4 plain;
layout(location = 1) out vec4 keyed;
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
    plain = vec4(own.rgb * (ambient * own.a), own.a);
    keyed = vec4(own.rgb * ((1.0 - ambient) * lit * own.a), own.a);
}
"""

OBJECT_SHADERS = {"vertex_shader": _OBJECT_VERTEX, "fragment_shader": _OBJECT_FRAGMENT}
"""Draws the object in two pictures of color times opacity: under the light from everywhere, under a white key light.
Their sum, with the key light's color on the second, is the object under both lights; so a hue costs no drawing."""

_GROUND_VERTEX = """
#version 330
uniform mat4 to_clip;
uniform mat4 to_light;
uniform float height;
in vec2 in_place;
out vec3 light_place;
void main() {
    vec4 place = vec4(in_place.x, height, in_place.y, 1.0);
    light_place = (to_light * place).xyz;
    gl_Position = to_clip * place;
}
"""

_GROUND_FRAGMENT = """
#version 330
uniform sampler2DShadow shadow_map;
uniform float opacity;
in vec3 light_place;
layout(location = 0) out vec4 plain;
layout(location = 1) out vec4 keyed;
void main() {
    // The ground lies behind all that casts a shadow, beyond the light's box.
    float depth = min(light_place.z - 0.004, 1.0);
    float shade = 0.0;
    for (int y = -1; y <= 1; y++)
        for (int x = -1; x <= 1; x++)
            shade += 1.0 - texture(shadow_map, vec3(light_place.xy + vec2(x, y) / 340.0, depth));
    plain = keyed = vec4(0.0, 0.0, 0.0, opacity * shade / 9.0);
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

CUT_DEPTH_SHADERS = {"vertex_shader": _DEPTH_VERTEX, "fragment_shader": _DEPTH_FRAGMENT}
"""Draws the depth that the light sees, of parts that are cut out of their pictures."""

_SOLID_DEPTH_VERTEX = """
#version 330
uniform mat4 to_light;
in vec3 in_position;
void main() {
    gl_Position = to_light * vec4(in_position, 1.0);
}
"""

_SOLID_DEPTH_FRAGMENT = """
#version 330
void main() {
}
"""

SOLID_DEPTH_SHADERS = {"vertex_shader": _SOLID_DEPTH_VERTEX, "fragment_shader": _SOLID_DEPTH_FRAGMENT}
"""The same of solid parts: a third less time than with a look at the picture."""
